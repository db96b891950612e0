"""From stamped ranges to batches: every bucket's ranges join up, or show the hole (protocol.md 1.8, 1.9, 3)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from bridge import relay as module
from bridge.relay import Relay
from core.events import Range
from db import connect, outbox
from db.connect import Connection
from db.outbox import NOTHING_HELD, SOURCES, claim
from db.queries import query
from fanout.buckets import Buckets
from fanout.messages import decode_message
from fanout.publisher import Batch
from tests.bridge.test_listener import url_of
from tests.clocks import QuickClock
from tests.db.rows import EVERYONE, insert
from tests.waiting import running, until
from tests.web.log import nobody_reads
from tests.wire import wire

[NOTIFICATIONS] = SOURCES
# Of three buckets, users of the first, the second and the third.
NAMES = Buckets(3, "r")
ZERO, ONE, TWO = (next(user for user in range(1, 100) if NAMES.of(str(user)) == bucket) for bucket in range(3))


class Way:
    """One bucket's way out; takes what it is told to take."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.beats: list[int] = []
        self.refusing: set[int] = set()  # starts of ranges

    async def offer(self, batch: Batch) -> bool:
        if batch.span.start in self.refusing:
            return False
        self.batches.append(batch)
        return True

    def heartbeat(self, end: int) -> None:
        self.beats.append(end)

    @property
    def sent(self) -> list[tuple[int, list[int], int]]:
        """Of each batch: from, the seqs, to."""
        return [
            (batch.span.start, [decode_message(payload).event.seq for _, payload in batch.messages], batch.span.end)
            for batch in self.batches
        ]


@pytest.fixture
def ways() -> list[Way]:
    return [Way(), Way(), Way()]


@asynccontextmanager
async def relaying(database: str, ways: list[Way], buckets: Buckets = NAMES) -> AsyncIterator[Relay]:
    relay = Relay(database, buckets, ways, QuickClock())
    async with running(relay.run()):
        yield relay


async def stamp(claiming: Connection, *users: object) -> Range:
    await insert(claiming, *users)
    stamped = (await claim(claiming, NOTIFICATIONS, NOTHING_HELD, batch=10_000)).stamped
    assert stamped is not None
    return stamped


async def test_every_bucket_gets_the_whole_range_and_its_own_messages(
    database: str, claiming: Connection, ways: list[Way]
) -> None:
    """A row for everyone goes once to each bucket; each batch carries `from` (rules 3.1, 3.2)."""
    first = await stamp(claiming, ZERO, ONE, EVERYONE, ZERO)
    second = await stamp(claiming, TWO)
    async with relaying(database, ways) as relay:
        await relay.stamped(NOTIFICATIONS, first)
        await relay.stamped(NOTIFICATIONS, second)
        await relay.drain()
    assert ways[0].sent == [(0, [1, 3, 4], 4), (4, [], 5)]
    assert ways[1].sent == [(0, [2, 3], 4), (4, [], 5)]
    assert ways[2].sent == [(0, [3], 4), (4, [5], 5)]
    for bucket, way in enumerate(ways):
        for batch in way.batches:
            for channel, payload in batch.messages:
                message = decode_message(payload)
                user = message.event.user_id
                assert message.start == batch.span.start
                assert channel == (NAMES.everyone(bucket) if user is None else NAMES.user(user))


async def test_a_long_range_goes_in_pieces_that_join_up(
    database: str, claiming: Connection, ways: list[Way], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rule 3.1: each piece with its own range and mark."""
    monkeypatch.setattr(module, "PIECE_BYTES", 500)
    span = await stamp(claiming, *[ZERO, ONE] * 10)
    async with relaying(database, ways) as relay:
        await relay.stamped(NOTIFICATIONS, span)
        await relay.drain()
    for way in ways[:2]:
        assert len(way.sent) > 3
        assert (way.sent[0][0], way.sent[-1][2]) == (0, 20)
        for (_, _, end), (start, _, _) in zip(way.sent, way.sent[1:], strict=False):
            assert start == end
        for start, seqs, end in way.sent:
            assert all(start < seq <= end for seq in seqs)
        for batch in way.batches:
            assert {decode_message(payload).start for _, payload in batch.messages} <= {batch.span.start}
    assert [seq for _, seqs, _ in ways[0].sent for seq in seqs] == list(range(1, 20, 2))


async def test_a_row_too_large_ends_its_batch_in_its_bucket_only(
    database: str, claiming: Connection, ways: list[Way], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rule 1.9: neither later rows nor the mark of that range go there. [M: left out alone, 98 of 500.]"""
    monkeypatch.setattr(module, "LARGEST_MESSAGE", 1000)
    monkeypatch.setattr(module, "PIECE_BYTES", 300)
    await insert(claiming, ZERO, ONE, ZERO, ZERO)
    await claiming.execute("INSERT INTO notifications (user_id, message) VALUES (%s, repeat('x', 2000))", (ZERO,))
    span = await stamp(claiming, ZERO, ONE, EVERYONE)
    after = await stamp(claiming, ZERO)
    async with relaying(database, ways) as relay:
        await relay.stamped(NOTIFICATIONS, span)
        await relay.stamped(NOTIFICATIONS, after)
        await relay.drain()
    assert [seq for _, seqs, _ in ways[0].sent for seq in seqs] == [1, 3, 9]
    assert max(end for start, _, end in ways[0].sent if start < 8) < 5, "a mark covers what was not sent"
    assert ways[0].sent[-1] == (8, [9], 9)
    assert [seq for _, seqs, _ in ways[1].sent for seq in seqs] == [2, 7, 8]


async def test_a_piece_that_was_dropped_ends_its_range(
    database: str, claiming: Connection, ways: list[Way], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rule 2.5: dropped; the next `from` shows the hole."""
    monkeypatch.setattr(module, "PIECE_BYTES", 1)
    span = await stamp(claiming, *[ZERO] * 4)
    ways[0].refusing = {1}
    async with relaying(database, ways) as relay:
        await relay.stamped(NOTIFICATIONS, span)
        await relay.drain()
    assert ways[0].sent == [(0, [1], 1)]


async def test_a_lost_reader_reads_the_whole_range_again(
    database: str, claiming: Connection, sql: Connection, ways: list[Way]
) -> None:
    span = await stamp(claiming, ZERO, ZERO)
    async with relaying(database, ways) as relay:
        with nobody_reads(database):
            await relay.stamped(NOTIFICATIONS, span)
            await until(lambda: _end_reader(sql))
        await relay.drain()
    assert ways[0].sent == [(0, [1, 2], 2)]


async def test_a_reader_that_is_cut_off_in_silence_is_replaced_before_it_is_needed(
    database: str, sql: Connection, ways: list[Way], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rule 2.1: it is pinged; else the first rows after a quiet hour wait until their read has timed out."""
    monkeypatch.setattr(module, "PING_EVERY", 0.05)
    monkeypatch.setattr(connect, "PING_TIMEOUT", 0.2)
    async with wire(url_of(database)) as link, relaying(link.url, ways):
        await until(lambda: _reader_pings(sql))
        link.black_hole()
        await until(lambda: link.opened > 1)
        link.heal()


async def _reader_pings(sql: Connection) -> bool:
    pinging = await sql.execute(
        "SELECT FROM pg_stat_activity WHERE application_name = 'rowcast-read' AND datname = current_database() AND query = %s",
        (query("ping").as_string(),),
    )
    return bool(await pinging.fetchall())


async def _end_reader(sql: Connection) -> bool:
    done = await sql.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE application_name = 'rowcast-read' AND datname = current_database() AND wait_event_type = 'Lock'"
    )
    return bool(await done.fetchall())


async def test_a_range_that_this_server_does_not_have_is_neither_sent_nor_marked(
    database: str, claiming: Connection, ways: list[Way]
) -> None:
    """Rule 1.8. After two tries it is dropped, and what comes after it goes."""
    span = await stamp(claiming, ZERO)
    async with relaying(database, ways) as relay:
        await relay.stamped(NOTIFICATIONS, Range(1, 900))
        await relay.stamped(NOTIFICATIONS, span)
        await relay.drain()
    assert ways[0].sent == [(0, [1], 1)]


@pytest.mark.parametrize("page", [1000, 2])
async def test_a_range_of_which_rows_were_pruned_is_not_marked(
    database: str, claiming: Connection, ways: list[Way], monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    """Said to be whole, it would be passed over in silence: what is left of it is a hole, that Postgres tells more about."""
    monkeypatch.setattr(outbox, "PAGE_ROWS", page)
    before = await stamp(claiming, ZERO)
    span = await stamp(claiming, *[ZERO] * 5)
    after = await stamp(claiming, ZERO)
    await prune(claiming, 3)
    async with relaying(database, ways) as relay:
        for each in (before, span, after):
            await relay.stamped(NOTIFICATIONS, each)
        await relay.drain()
    assert ways[0].sent == [(6, [7], 7)]


async def test_a_range_after_what_was_pruned_is_sent(database: str, claiming: Connection, ways: list[Way]) -> None:
    await stamp(claiming, ZERO, ZERO)
    span = await stamp(claiming, ZERO, ZERO)
    await prune(claiming, 2)
    async with relaying(database, ways) as relay:
        await relay.stamped(NOTIFICATIONS, span)
        await relay.drain()
    assert ways[0].sent == [(2, [3, 4], 4)]


async def prune(session: Connection, upto: int) -> None:
    await session.execute("SELECT rowcast.forget(%s)", (upto,))
    await session.execute("DELETE FROM notifications WHERE seq <= %s", (upto,))


async def test_a_term_begins_with_a_mark_from_the_last_seq_to_its_start(database: str, ways: list[Way]) -> None:
    """Rule 2.4."""
    async with relaying(database, ways) as relay:
        await relay.term_started(Range(7, 1_000_000))
        relay.alive(1_000_000)
        await relay.drain()
    for way in ways:
        assert way.sent == [(7, [], 1_000_000)]
        assert way.beats == [1_000_000]


async def test_a_full_queue_drops_ranges_and_stamping_goes_on(
    database: str, ways: list[Way], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rule 2.5. Nobody reads here: the queue only fills."""
    monkeypatch.setattr(module, "ROOM_TIMEOUT", 0.01)
    monkeypatch.setattr(module, "QUEUE_RANGES", 2)
    relay = Relay(database, NAMES, ways, QuickClock())
    for start in range(5):
        await relay.stamped(NOTIFICATIONS, Range(start, start + 1))
        relay.alive(start + 1)
    assert len(relay._queue) == 2


async def test_whoever_stamps_waits_until_few_ranges_are_left(
    database: str, claiming: Connection, ways: list[Way]
) -> None:
    """What waits here holds up whatever is stamped next, and by then it may be somebody else's turn."""
    relay = Relay(database, NAMES, ways, QuickClock())
    spans = [await stamp(claiming, ZERO) for _ in range(5)]
    for span in spans:
        await relay.stamped(NOTIFICATIONS, span)
    async with running(relay.kept_up(), relay.run()) as [keeping, _]:
        await keeping
        assert len(relay._queue) <= module.FEW_RANGES


async def test_whoever_stamps_waits_for_a_reader_that_is_away_once(
    database: str, claiming: Connection, ways: list[Way], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROOM_TIMEOUT", 0.2)
    relay = Relay(database, NAMES, ways, QuickClock())
    began = asyncio.get_running_loop().time()
    for _ in range(5):
        await relay.stamped(NOTIFICATIONS, await stamp(claiming, ZERO))
        await relay.kept_up()
    assert 0.2 <= asyncio.get_running_loop().time() - began < 0.7
