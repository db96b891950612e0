"""One browser's stream: what it missed, then what comes; nothing left out, nothing twice (protocol.md 5)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest

from core.events import Range
from db import history
from fanout.connection import RedisConfig
from fanout.nodes import Nodes
from fanout.publisher import Publisher
from rowcast.embedded import Server
from tests.db.databases import Databases
from tests.waiting import running, until
from tests.web.air import Air, Reader, open_air, together
from tests.web.log import nobody_reads, reads_wait
from tests.wire import wire
from web import bucket as bucket_module
from web import mailbox as mailbox_module
from web import stream as module
from web.config import WebConfig
from web.stream import Since, Unknown

QUIET = WebConfig(heartbeat=0.01)


@pytest.fixture
async def air(databases: Databases, valkey: Server) -> AsyncIterator[Air]:
    with databases.migrated() as url:
        async with open_air(url, valkey.url) as made:
            yield made


async def heard(air: Air, seq: int) -> None:
    """The hub has handed out everything up to there."""
    await until(lambda: air.hub._buckets[0].position == seq)


async def view(air: Air, *seqs: int) -> None:
    await air.log.sql.execute("UPDATE notifications SET is_viewed = true WHERE seq = ANY (%s)", (list(seqs),))


async def test_the_first_bytes_are_a_jittered_retry(air: Air) -> None:
    async with air.reading(1, Since.NOW) as reader:
        await reader.live()
        assert reader.chunks[0].startswith(b"retry: ")
        assert 1500 <= int(reader.chunks[0].split()[1]) <= 4500
        assert reader.raw.count(b"retry:") == 1


@pytest.mark.parametrize(
    ("start", "expected"),
    [(Since.UNREAD, [2, 5]), (Since.ALL, [1, 2, 5, 6]), (Since.NOW, []), (2, [5, 6]), (0, [1, 2, 5, 6]), (6, [])],
)
async def test_where_a_stream_starts(air: Air, start: Since | int, expected: list[int]) -> None:
    """Rule 5.3: a position sends every row above it, viewed or not; only `unread` leaves viewed rows out."""
    await air.log.add(1, 1, 2, 2, None, 1)
    await view(air, 1, 6)
    async with air.reading(1, start) as reader:
        assert await reader.live() == 6
        assert reader.seqs == expected
        assert [event.type for event in reader.events] == ["message"] * len(expected) + ["hello"]


async def test_rows_for_everyone_that_this_user_viewed_are_not_unread(air: Air) -> None:
    await air.log.add(None, None)
    await air.log.sql.execute("INSERT INTO rowcast.viewed SELECT 1, id FROM notifications WHERE seq = 1")
    async with air.reading(1, Since.UNREAD) as mine, air.reading(2, Since.UNREAD) as anothers:
        await together(mine, anothers)
        assert (mine.seqs, anothers.seqs) == ([2], [1, 2])


async def test_live_after_the_backlog_without_a_seam(air: Air) -> None:
    """Rule 5.1: channels confirmed → backlog and last_seq in one snapshot → backlog out → hello → live above it."""
    await air.log.add(1, 2)
    async with air.reading(1, Since.UNREAD) as reader:
        assert await reader.live() == 2
        assert await air.send(1, None, 2) == [3, 4, 5]
        await reader.gets(1, 3, 4)
        assert await air.send(1) == [6]
        await reader.gets(1, 3, 4, 6)
        assert len(reader.of_type("hello")) == 1


async def test_the_streams_last_starts_at_the_snapshots_end_not_at_its_last_row(air: Air) -> None:
    """Rule 5.1. A message of before, published late, does not come again."""
    old = await air.log.add(1)
    await view(air, 1)
    await air.log.add(2)
    async with air.reading(1, Since.UNREAD) as reader:
        assert await reader.live() == 2
        await air.publish(old)
        await air.send(1)
        await reader.gets(3)


async def test_what_is_published_while_the_backlog_is_read_comes_after_it(air: Air) -> None:
    """Rule 5.2: live rows queue from the confirmation on; hello never stands above unsent backlog."""
    await air.log.add(1, 1)
    async with AsyncExitStack() as stack:
        with nobody_reads(air.log.url):
            reader = await stack.enter_async_context(air.reading(1, Since.ALL))
            await until(lambda: reads_wait(air.log))
            assert not reader.events
        await air.send(1)
        await reader.gets(1, 2, 3)
        assert await reader.live() <= 3


async def test_nothing_is_read_before_the_channel_is_confirmed(databases: Databases, valkey: Server) -> None:
    """Rule 5.1: what is stamped and published between the two would be in neither, and its mark joins up."""
    with databases.migrated() as url:
        async with wire(valkey.url) as held, open_air(url, held.url) as air:
            nodes = Nodes(RedisConfig(valkey.url), air.names, air.clock)
            air.publisher = Publisher(nodes, air.names, 0, air.clock)
            async with running(air.publisher.run()):
                held.hold(down=False)
                async with air.reading(1, Since.ALL) as reader:
                    await until(lambda: air.hub.streams == 1)
                    with pytest.raises(TimeoutError):
                        await until(lambda: bool(reader.of_type("hello")), timeout=0.2)
                    await air.send(1)
                    await heard(air, 1)
                    held.heal()
                    await reader.gets(1)


async def test_what_waits_for_a_slow_reader_still_comes_though_the_bucket_is_further(air: Air) -> None:
    """Rule 4.2: the stream compares with its own last only. [M: with the bucket's position, 500 of 500.]"""
    async with air.by_hand(1, Since.NOW) as reader:
        await reader.until_hello()
        await air.send(1, 2)
        await heard(air, 2)
        async with asyncio.timeout(5):
            await reader.read()
        assert reader.seqs == [1]


@pytest.mark.parametrize("limits", [{"PAGE_ROWS": 3}, {"PAGE_BYTES": 500}, {}])
async def test_a_long_backlog_goes_in_pages(air: Air, monkeypatch: pytest.MonkeyPatch, limits: dict[str, int]) -> None:
    """Rule 5.2, by rows and by bytes: 1,200 rows of the real limits, or 20 with small ones."""
    for name, value in limits.items():
        monkeypatch.setitem(history._LIMITS, {"PAGE_ROWS": "page", "PAGE_BYTES": "budget"}[name], value)
    count = 20 if limits else 1200
    await air.log.add(*[1, 2] * count)
    async with air.reading(1, Since.ALL) as reader:
        assert await reader.live() == 2 * count
        assert reader.seqs == list(range(1, 2 * count, 2))
        assert len(reader.chunks) > 3


async def test_a_row_larger_than_a_page_is_a_page(air: Air) -> None:
    for _ in range(2):
        await air.log.add(1, message="x" * (2 << 20))
    async with air.reading(1, Since.ALL) as reader:
        await reader.live()
        assert reader.seqs == [1, 2]


async def test_pages_are_bounded_by_the_first_snapshot(air: Air, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule 5.2: rows of after it come live, once, in order."""
    monkeypatch.setitem(history._LIMITS, "page", 2)
    await air.send(1, 1, 1)
    await heard(air, 3)
    async with air.by_hand(1, Since.ALL) as reader:
        await reader.read()
        await reader.read()
        assert reader.seqs == [1, 2]
        assert await air.send(1, 1) == [4, 5]
        await reader.until_hello()
        assert reader.of_type("hello")[0].json == {"seq": 3}
        assert reader.seqs == [1, 2, 3]
        while len(reader.seqs) < 5:
            await reader.read()
        assert reader.seqs == [1, 2, 3, 4, 5]


async def test_a_queue_that_overflows_during_the_backlog_is_dropped_and_read_on(
    air: Air, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rule 5.2: else big backlogs end again and again. No silence makes the bucket re-read here, which would drop the queue too."""
    monkeypatch.setattr(bucket_module, "SILENCE", 1000.0)
    await air.send(1)
    await heard(air, 1)
    small = replace(air.config, stream_queue=2)
    async with air.by_hand(1, Since.ALL, small) as reader:
        for _ in range(2):
            await reader.read()
        for _ in range(3):
            await air.send(1, 1)
        await heard(air, 7)
        [mailbox] = air.hub._buckets[0].mailboxes
        assert mailbox.overflowed
        async with asyncio.timeout(5):
            await reader.until_hello()
        assert reader.seqs == [1, 2, 3, 4, 5, 6, 7]
        assert reader.of_type("hello")[0].json == {"seq": 7}


async def test_what_overflowed_is_sent_whether_or_not_it_was_viewed_meanwhile(air: Air) -> None:
    """`unread` chooses where a stream starts; from then on it gets every row."""
    small = replace(air.config, stream_queue=2)
    async with air.by_hand(1, Since.UNREAD, small) as reader:
        await reader.until_hello()
        seqs = await air.send(1, 1, 1)
        await heard(air, 3)
        await view(air, *seqs)
        while len(reader.seqs) < 3:
            async with asyncio.timeout(5):
                await reader.read()
        assert reader.seqs == seqs


@pytest.mark.parametrize("bound", ["events", "bytes"])
async def test_a_live_stream_whose_queue_overflows_loses_nothing_and_gets_nothing_twice(
    air: Air, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    if bound == "bytes":
        monkeypatch.setattr(mailbox_module, "LIMIT_BYTES", 300)
    config = replace(air.config, stream_queue=3 if bound == "events" else 1000)
    async with air.by_hand(1, Since.NOW, config) as reader:
        await reader.until_hello()
        expected: list[int] = []
        for _ in range(3):
            for _ in range(3):
                expected += await air.send(1, 1)
            await heard(air, expected[-1])
            while len(reader.seqs) < len(expected):
                await reader.read()
        assert reader.seqs == expected
        assert len(reader.of_type("hello")) == 1


async def test_a_reader_that_lags_is_ended_with_its_position_and_resumes(
    air: Air, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow write and an overflow meanwhile: it is ended, and loses nothing."""
    monkeypatch.setattr(module, "LAG_TIMEOUT", 0.0)
    config = replace(air.config, stream_queue=2)
    async with air.by_hand(1, Since.NOW, config) as reader:
        await reader.until_hello()
        await air.send(1)
        await reader.read()  # … and takes its time: the queue fills up behind it
        for _ in range(3):
            await air.send(1)
        await heard(air, 4)
        await reader.run()
        assert reader.seqs == [1]
        assert reader.last_event_id == "1"
        async with air.reading(1, int(reader.last_event_id)) as again:
            await again.gets(2, 3, 4)


async def test_a_heartbeat_that_comes_due_meanwhile_makes_a_slow_write_no_shorter(
    air: Air, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A patience below the time a write may take is no other promise to those who wait for it."""
    monkeypatch.setattr(module, "LAG_TIMEOUT", 0.5)
    config = replace(air.config, stream_queue=2, heartbeat=QUIET.heartbeat)
    async with air.by_hand(1, Since.NOW, config) as reader:
        await reader.until_hello()
        await air.send(1)
        while not reader.seqs:
            await reader.read()
        began = air.clock.now()
        await air.send(1, 1, 1)
        await heard(air, 4)
        [mailbox] = air.hub._buckets[0].mailboxes
        await until(lambda: mailbox.wrote > began + 0.5)  # by the wheel
        async with asyncio.timeout(5):
            await reader.run()
        assert reader.seqs == [1]
        assert reader.last_event_id == "1"


async def test_history_pruned_under_an_overflowed_stream_is_told_to_it(air: Air) -> None:
    """Rule 5.4 holds whenever a stream reads from Postgres again, not only when it starts."""
    small = replace(air.config, stream_queue=2)
    async with air.by_hand(1, Since.NOW, small) as reader:
        await reader.until_hello()
        seqs = await air.send(1, 1, 1)
        await heard(air, seqs[-1])
        await air.log.sql.execute("DELETE FROM notifications WHERE seq <= 2")
        await air.log.move(pruned_seq=2)
        async with asyncio.timeout(5):
            while not reader.seqs:
                await reader.read()
        [reset] = reader.of_type("reset")
        assert json.loads(reset.data)["reason"] == "pruned"
        assert reader.seqs == seqs[2:]


async def test_history_that_went_below_what_a_stream_had_is_no_reset_for_it(air: Air) -> None:
    """It was quiet, so its own last is old; but nothing that was pruned was for it, and its queue overflowed only after that."""
    small = replace(air.config, stream_queue=2)
    async with air.by_hand(1, Since.NOW, small) as reader:
        await reader.until_hello()
        for_others = await air.send(*[2] * 5)
        await heard(air, for_others[-1])
        await air.log.sql.execute("DELETE FROM notifications WHERE seq <= 5")
        await air.log.move(pruned_seq=5)
        seqs = await air.send(1, 1, 1)
        await heard(air, seqs[-1])
        async with asyncio.timeout(5):
            while len(reader.seqs) < 3:
                await reader.read()
        assert (reader.seqs, reader.of_type("reset")) == (seqs, [])


# --- reset


async def rest(air: Air, reader: Reader, reason: str, oldest: int | None, position: int) -> None:
    [reset] = reader.of_type("reset")
    assert json.loads(reset.data) == {"reason": reason, "oldest": oldest}
    assert reset.last_event_id == str(position)
    assert reader.events[0] is reset


async def test_a_position_of_the_future_is_reset_to_the_end(air: Air) -> None:
    """Rule 5.4: above last_seq, never above max(seq)."""
    await air.log.add(1, 1)
    async with air.reading(1, 7) as reader:
        assert await reader.live() == 2
        await rest(air, reader, "future", 1, 2)
        await air.send(1)
        await reader.gets(3)


async def test_what_is_no_number_is_reset_to_the_end(air: Air) -> None:
    await air.log.add(1)
    async with air.reading(1, Unknown()) as reader:
        assert await reader.live() == 1
        await rest(air, reader, "unknown", 1, 1)
        assert reader.seqs == []


async def test_an_empty_log_has_no_oldest(air: Air) -> None:
    async with air.reading(1, 2**63 - 1) as reader:
        await reader.live()
        await rest(air, reader, "future", None, 0)


async def test_a_pruned_position_is_reset_to_it_and_gets_all_that_is_left(air: Air) -> None:
    await air.log.add(1, 1, 2, 1, 1)
    await air.log.sql.execute("DELETE FROM notifications WHERE seq <= 3")
    await air.log.move(pruned_seq=3)
    async with air.reading(1, 1) as reader:
        assert await reader.live() == 5
        await rest(air, reader, "pruned", 4, 3)
        assert reader.seqs == [4, 5]
    async with air.reading(1, 3) as reader:
        await reader.live()
        assert not reader.of_type("reset")
        assert reader.seqs == [4, 5]


@pytest.mark.parametrize("statement", ["TRUNCATE notifications", "DELETE FROM notifications WHERE seq = 2"])
async def test_rows_taken_away_at_the_end_are_no_reason_for_a_reset(air: Air, statement: str) -> None:
    """Rule 5.4: "greatest seq" is last_seq, never max(seq): TRUNCATE, DELETE and prune lower that."""
    await air.log.add(1, 1)
    await air.log.sql.execute(statement.encode())
    async with air.reading(1, 2) as reader:
        assert await reader.live() == 2
        assert not reader.of_type("reset")


async def test_a_server_that_lags_behind_is_not_believed_before_any_reset(air: Air) -> None:
    """Rule 4.5: this holds for stream starts too."""
    await air.send(1)
    await heard(air, 1)
    await not_believed_until_back(air)


async def not_believed_until_back(air: Air) -> None:
    """A log that has lost its only row: its client's start waits, and is told of no reset."""
    await air.log.move(last_seq=0)
    async with air.reading(1, 1) as reader:
        await until(lambda: len(reader.chunks) == 1)
        with pytest.raises(TimeoutError):
            await until(lambda: len(reader.chunks) > 1, timeout=0.3)
        await air.log.move(last_seq=1)
        assert await reader.live() == 1
        assert not reader.of_type("reset")


@pytest.fixture
def _hubs_at_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is read but for streams."""
    for name in ("web.bucket.REREAD_EVERY", "web.hub._LOOK_EVERY", "web.hub._WATCH_EVERY"):
        monkeypatch.setattr(name, 1000.0)


@pytest.mark.usefixtures("_hubs_at_rest")
async def test_what_a_stream_was_shown_is_known_to_the_next_read(air: Air) -> None:
    """Rule 4.5: its client comes back, and an old primary that is asked then must not call its position one of the future."""
    await air.log.add(1)
    async with air.by_hand(1, Since.ALL) as first:
        await first.until_hello()
    assert air.hub._buckets[0].position == 0
    await not_believed_until_back(air)


@pytest.mark.usefixtures("_hubs_at_rest")
async def test_what_a_stream_is_shown_of_a_log_that_was_forgotten_meanwhile_does_not_count(air: Air) -> None:
    """It would keep the bucket from believing the log that there is."""
    [bucket] = air.hub._buckets
    await air.log.add(1)
    async with AsyncExitStack() as streams:
        with nobody_reads(air.log.url):
            reader = await streams.enter_async_context(air.reading(1, Since.ALL))
            await until(lambda: reads_wait(air.log))
            bucket._forget()
        await reader.end()
    assert bucket.known == 0


# --- ends


async def drained(air: Air, reader: Reader) -> None:
    assert await air.hub.drain(5) == 0
    await reader.end()
    assert reader.raw.count(b"retry: ") == 2


async def test_a_live_stream_ends_with_the_buckets_position(air: Air) -> None:
    """Rule 5.5: its own last, or the bucket's position if that is larger and its queue is empty."""
    async with air.reading(1, Since.NOW) as reader:
        await reader.live()
        await air.send(1)
        await air.send(2, 2)
        await reader.gets(1)
        await heard(air, 3)
        await drained(air, reader)
        assert reader.chunks[-1] == b"id: 3\n\n"
        assert reader.last_event_id == "3"


async def test_a_live_stream_with_something_waiting_ends_with_its_own_last(air: Air) -> None:
    """Rule 5.5. [M: the bucket's position alone loses rows in 28 of 500 walks.]"""
    async with air.by_hand(1, Since.NOW) as reader:
        await reader.until_hello()
        await air.send(1)
        await reader.read()
        await air.send(1)
        await heard(air, 2)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(reader.run())
            await air.hub.drain(5)
        assert reader.seqs == [1]
        assert reader.last_event_id == "1"


async def test_in_the_backlog_it_ends_with_the_last_row_written(air: Air, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule 5.5: the bucket's position is above rows that were not written yet."""
    monkeypatch.setitem(history._LIMITS, "page", 2)
    await air.log.add(1, 1, 1, 1)
    async with air.by_hand(1, Since.ALL) as reader:
        for _ in range(2):
            await reader.read()
        assert reader.seqs == [1, 2]
        assert air.hub._buckets[0].position == 0
        await air.publish([], Range(0, 4))
        await heard(air, 4)
        for mailbox in air.hub._buckets[0].mailboxes:
            mailbox.end("test")
        await reader.run()
        assert (reader.seqs, reader.last_event_id) == ([1, 2], "2")
        assert reader.chunks[-1] == b"id: 2\n\n"


async def test_before_its_first_row_it_ends_without_a_block(air: Air) -> None:
    """Rule 5.5: none."""
    await air.log.add(1)
    async with air.by_hand(1, Since.ALL) as reader:
        await reader.read()
        air.hub._draining = True
        await reader.run()
        assert [chunk.split(b" ")[0] for chunk in reader.chunks] == [b"retry:", b"retry:"]


async def test_a_stream_of_a_lost_tail_ends_without_a_position(air: Air) -> None:
    """Rule 4.5: they return and get `reset`."""
    async with air.reading(1, Since.NOW) as reader:
        await reader.live()
        await air.send(1)
        await reader.gets(1)
        for mailbox in air.hub._buckets[0].mailboxes:
            mailbox.end("the log lost its tail", silently=True)
        await reader.end()
        assert reader.chunks[-1].startswith(b"retry: ")


async def test_a_page_that_postgres_never_answers_ends_the_stream_cleanly(
    air: Air, monkeypatch: pytest.MonkeyPatch
) -> None:
    await air.log.sql.execute("ALTER TABLE rowcast.state RENAME TO hidden")
    async with air.reading(1, Since.ALL) as reader:
        await reader.end()
        assert [chunk.split(b" ")[0] for chunk in reader.chunks] == [b"retry:", b"retry:"]


# --- quiet


async def test_a_quiet_stream_gets_comment_lines_and_now_and_then_its_position(air: Air) -> None:
    """Rule 5.5: so that it is not taken for pruned; a heartbeat is the single line `:`."""
    async with air.reading(1, Since.NOW, QUIET) as reader:
        await reader.live()
        await air.send(2, 2)
        await until(lambda: reader.last_event_id == "2")
        count = len(reader.chunks)
        await until(lambda: len(reader.chunks) > count + 50)
        assert set(reader.chunks[2:]) <= {b":\n", b":\nid: 2\n\n"}
        assert reader.chunks.count(b":\nid: 2\n\n") == 1, "told once, as long as it stays"
        await air.send(1)
        await reader.gets(3)
        assert len(reader.events) == 2


async def test_redis_away_at_the_start_of_a_stream_keeps_nobody_waiting(databases: Databases, valkey: Server) -> None:
    """Rule 4.4: it lives on re-reads."""
    with databases.migrated() as url:
        async with open_air(url, valkey.url) as air:
            await air.log.add(1)
            bucket = air.hub._buckets[0]
            bucket.interrupted()
            async with air.reading(1, Since.ALL) as reader:
                await reader.live()
                await air.log.add(1)  # nobody publishes it
                await reader.gets(1, 2)


async def test_a_hole_in_what_is_published_is_filled_on_the_way(air: Air) -> None:
    """The sixth point of the one idea: no kind of loss in Redis needs to be foreseen."""
    async with air.reading(1, Since.NOW) as reader, air.reading(2, Since.NOW) as other:
        await together(reader, other)
        await air.log.add(1, 2)
        await air.publish(await air.log.add(1))
        await reader.gets(1, 3)
        await other.gets(2)
        await air.log.add(2)
        await air.publish([], Range(4, 4))
        await other.gets(2, 4)
