"""One bucket of users on a real log: no hole is passed, nothing is handed out too early or lost in between (protocol.md 4)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from core.errors import DatabaseUnavailableError
from core.events import Range
from db import history as history_module
from db.history import History, Page
from fanout.messages import Message
from tests.clocks import HandClock, QuickClock
from tests.db.databases import Databases
from tests.waiting import running, turns, until
from tests.web.log import Log, nobody_reads, open_log, reads_wait, span
from web import bucket as module
from web import gathering
from web.bucket import Bucket
from web.gathering import FLOOD_ITEMS
from web.mailbox import Mailbox


@dataclass
class Scene:
    """A bucket that runs, over a log."""

    log: Log
    bucket: Bucket
    clock: HandClock

    def stream(self, user_id: int, *, live: bool = True, limit: int = 10_000) -> Mailbox:
        mailbox = Mailbox(str(user_id), limit)
        mailbox.live = live
        self.bucket.add(mailbox)
        return mailbox

    def busy_stream(self, user_id: int) -> tuple[Mailbox, asyncio.Future[bool]]:
        """One that had an event a moment ago, and its wait for the next."""
        mailbox = self.stream(user_id)
        mailbox.took = self.clock.now()
        return mailbox, mailbox.woken()

    def hears(self, *items: Message | Range) -> None:
        for item in items:
            self.bucket.arrived(item, 100)

    async def at_rest(self) -> None:
        """Everything that arrived is handled, nothing is left to re-read."""
        await until(lambda: self.bucket.joined_up and not self.bucket._inbox)

    async def joined(self) -> None:
        self.bucket.joined()
        await self.at_rest()


@pytest.fixture(autouse=True)
def _no_rereads_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missed is missed for long: without marks a bucket would re-read once a second, and hide it."""
    monkeypatch.setattr(module, "REREAD_EVERY", 1000.0)


@asynccontextmanager
async def scene(databases: Databases, clock: HandClock) -> AsyncIterator[Scene]:
    with databases.migrated() as url:
        async with open_log(url) as (log, history):
            bucket = Bucket(0, history, clock)
            async with running(bucket.run()):
                yield Scene(log, bucket, clock)


@pytest.fixture
async def quick(databases: Databases) -> AsyncIterator[Scene]:
    """Failed re-reads are tried again at once."""
    async with scene(databases, QuickClock()) as made:
        yield made


def waiting(mailbox: Mailbox, last: int = 0) -> list[int]:
    return [delivery.seq for delivery in mailbox.take_above(last)]


def seqs(*batches: list[Message]) -> list[int]:
    return [message.event.seq for batch in batches for message in batch]


async def test_what_joins_up_is_handed_out_without_a_read(quick: Scene) -> None:
    await quick.joined()
    stream = quick.stream(1)
    batch = await quick.log.add(1, 1)
    with nobody_reads(quick.log.url):
        quick.hears(*batch, span(batch))
        await until(lambda: quick.bucket.position == quick.log.end)
        assert waiting(stream) == seqs(batch)


@pytest.mark.parametrize("lost", ["a message and its mark", "only the mark", "two whole batches"])
async def test_a_hole_is_filled_before_anything_later_is_handed_out(quick: Scene, lost: str) -> None:
    """Rule 4.1. [M: finding the hole at the mark loses rows in 574 of 1,500 walks: the later message went out first.]"""
    await quick.joined()
    stream = quick.stream(1)
    first, second, third = [await quick.log.add(1, 2), await quick.log.add(1), await quick.log.add(1, 1)]
    match lost:
        case "a message and its mark":
            quick.hears(first[1], *second, span(second), *third, span(third))
        case "only the mark":
            quick.hears(*first, *second, span(second), *third)
        case _:
            quick.hears(*third)
    await quick.at_rest()
    got = [delivery.seq for delivery in stream._queue]
    unique = list(dict.fromkeys(got))
    assert unique == sorted(unique), "a later row went out first"
    assert waiting(stream) == seqs(first[:1], second, third)


async def test_a_lost_message_whose_mark_joins_up_would_be_lost_so_its_mark_never_comes_alone(quick: Scene) -> None:
    """Rule 4.1: what is lost with the connection is found by the interruption, not by the mark."""
    await quick.joined()
    stream = quick.stream(1)
    batch = await quick.log.add(1)
    quick.bucket.interrupted()
    await quick.joined()
    quick.hears(span(batch))
    await quick.at_rest()
    assert waiting(stream) == seqs(batch)


async def test_a_mark_that_joins_up_moves_the_position_and_one_below_does_not(quick: Scene) -> None:
    """Rule 4.1."""
    await quick.joined()
    start = quick.bucket.position
    assert start == 0
    await quick.log.add(2, 2)
    quick.hears(Range(0, 2))
    await quick.at_rest()
    assert quick.bucket.position == 2
    quick.hears(Range(0, 1), Range(1, 1))
    await quick.at_rest()
    assert quick.bucket.position == 2


async def test_a_mark_from_above_starts_a_reread(quick: Scene) -> None:
    """Rule 4.1."""
    await quick.joined()
    stream = quick.stream(1)
    await quick.log.add(1)
    later = await quick.log.add(2)
    quick.hears(span(later))
    await quick.at_rest()
    assert waiting(stream) == [1]
    assert quick.bucket.position == 2


async def test_only_marks_at_or_above_the_position_are_a_sign_of_life(databases: Databases) -> None:
    """Rule 4.1: one whose `to` is below the position is no sign of life."""
    async with scene(databases, HandClock()) as hand:
        await hand.log.add(1, 1)
        await hand.joined()
        assert not hand.bucket.fresh, "no mark was heard yet"
        hand.hears(Range(0, 2))
        assert hand.bucket.fresh
        hand.clock.advance(3.1)
        assert hand.bucket.silent
        assert not hand.bucket.fresh
        hand.hears(Range(0, 1), Range(1, 1))
        await hand.at_rest()
        assert hand.bucket.silent
        hand.hears(Range(2, 2))
        assert (hand.bucket.silent, hand.bucket.fresh) == (False, True)


async def test_life_is_counted_on_arrival(databases: Databases) -> None:
    """Rule 4.1: also while a re-read keeps everything waiting."""
    async with scene(databases, HandClock()) as hand:
        await hand.joined()
        hand.stream(1)
        await hand.log.add(1, 2)
        with nobody_reads(hand.log.url):
            hand.hears(Range(1, 2))
            await until(lambda: reads_wait(hand.log))
            hand.clock.advance(3.1)
            assert hand.bucket.silent
            hand.hears(Range(2, 2))
            assert not hand.bucket.silent


async def test_messages_and_marks_wait_in_order_while_a_reread_runs(quick: Scene) -> None:
    """Rule 4.1. [M: marks that overtake waiting messages: 28 of 500.]"""
    await quick.joined()
    stream = quick.stream(1)
    lost, found = await quick.log.add(1), await quick.log.add(1)
    with nobody_reads(quick.log.url):
        quick.hears(span(found))
        await until(lambda: reads_wait(quick.log))
        quick.hears(*found, span(found))
        await turns()
        assert stream.empty
        assert quick.bucket.position == 0
    later = await quick.log.add(1, 1)
    quick.hears(*later, span(later))
    await quick.at_rest()
    assert waiting(stream) == seqs(lost, found, later)
    assert quick.bucket.position == quick.log.end


async def test_what_comes_twice_is_handed_out_once(quick: Scene) -> None:
    """Rule 4.2: below the position it is dropped here; a batch sent again whole, by the stream."""
    await quick.joined()
    stream = quick.stream(1)
    batch = await quick.log.add(1, 1)
    quick.hears(*batch, *batch, span(batch))
    await quick.at_rest()
    assert waiting(stream) == seqs(batch)
    quick.hears(*batch, span(batch))
    await quick.at_rest()
    assert stream.empty


async def test_a_reread_gives_all_pages(quick: Scene) -> None:
    """Rule 4.2: rows first, the position then, page by page."""
    await quick.joined()
    stream, other = quick.stream(1), quick.stream(2)
    rows = await quick.log.add(*[1, 2, None] * 400)
    quick.hears(Range(quick.log.end, quick.log.end))
    await quick.at_rest()
    assert waiting(stream) == [m.event.seq for m in rows if m.event.user_id in ("1", None)]
    assert waiting(other) == [m.event.seq for m in rows if m.event.user_id in ("2", None)]
    assert quick.bucket.position == quick.log.end


class BreakingHistory(History):
    """Reads, until the pages it may still read are used up; then fails once, as a lost session does."""

    pages = 1000

    async def reread(self, user_ids: list[str], *, after: int, upto: int | None, at_least: int = 0) -> Page:
        self.pages -= 1
        if self.pages == -1:
            raise DatabaseUnavailableError
        return await super().reread(user_ids, after=after, upto=upto, at_least=at_least)


async def test_a_reread_that_fails_between_two_pages_goes_on_where_it_stopped(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rule 4.2: a page's rows first, the position then."""
    monkeypatch.setitem(history_module._LIMITS, "page", 2)
    with databases.migrated() as url:
        async with open_log(url) as (log, history):
            breaking = BreakingHistory(history._pool)
            made = Scene(log, Bucket(0, breaking, QuickClock()), QuickClock())
            async with running(made.bucket.run()):
                await made.joined()
                stream = made.stream(1)
                rows = await log.add(*[1] * 7)
                breaking.pages = 2
                made.bucket.missed()
                await made.at_rest()
                assert breaking.pages < -1, "it did fail on the way"
                assert waiting(stream) == seqs(rows)
                assert made.bucket.position == log.end


async def test_an_inbox_that_is_full_is_dropped_whole_and_reread(quick: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule 4.1: drop all of it and re-read, in a snapshot begun after the drop."""
    monkeypatch.setattr(module, "INBOX_ITEMS", 5)
    await quick.joined()
    stream = quick.stream(1)
    first, second = await quick.log.add(1), await quick.log.add(1)
    with nobody_reads(quick.log.url):
        quick.hears(span(second))
        await until(lambda: reads_wait(quick.log))
        quick.hears(*[span(first)] * 4, *second)
        assert len(quick.bucket._inbox) == 0
    third = await quick.log.add(1, 1)
    quick.hears(*third, span(third))
    await quick.at_rest()
    assert waiting(stream) == seqs(first, second, third)


async def test_bytes_fill_the_inbox_too(quick: Scene) -> None:
    quick.bucket._inbox_limit = 350
    await quick.joined()
    stream = quick.stream(1)
    batch = await quick.log.add(1, 1, 1)
    quick.hears(*batch, span(batch))
    assert len(quick.bucket._inbox) == 0
    await quick.at_rest()
    assert waiting(stream) == seqs(batch)


async def test_without_redis_streams_live_on_rereads(quick: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule 4.4: until the subscription is joined again, re-read meanwhile."""
    monkeypatch.setattr(module, "REREAD_EVERY", 0.01)
    await quick.joined()
    stream = quick.stream(1)
    quick.bucket.interrupted()
    assert not quick.bucket.joined_up
    for _ in range(3):
        batch = await quick.log.add(1)
        await until(lambda: not stream.empty)
        assert waiting(stream) == seqs(batch)
    assert not quick.bucket.silent, "silence is for who is joined"


async def test_without_marks_streams_live_on_rereads(quick: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule 4.4: a bucket that is joined and hears nothing is not to be trusted; its streams get their rows meanwhile."""
    monkeypatch.setattr(module, "REREAD_EVERY", 0.01)
    await quick.joined()
    stream = quick.stream(1)
    for _ in range(3):
        batch = await quick.log.add(1)
        await until(lambda: not stream.empty)
        assert waiting(stream) == seqs(batch)


async def test_what_comes_from_long_ago_keeps_no_bucket_from_rereading(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without marks it re-reads once a second, however much arrives: on a slow way all of it is late."""
    monkeypatch.setattr(module, "REREAD_EVERY", 0.5)
    async with scene(databases, HandClock()) as hand:
        await hand.joined()
        stream = hand.stream(1)
        old = await hand.log.add(1)
        hand.hears(*old, span(old))
        await hand.at_rest()
        new = await hand.log.add(1)
        hand.clock.advance(module.SILENCE + 1)

        def reread() -> bool:
            hand.hears(*old)
            return len(stream._queue) == 2

        await until(reread)
        assert waiting(stream) == seqs(old, new)


async def test_what_waited_before_an_interruption_is_dropped(quick: Scene) -> None:
    """Rule 4.4: no position from a mark alone; the first after an interruption comes from a snapshot."""
    await quick.joined()
    stream = quick.stream(1)
    first, second = await quick.log.add(1), await quick.log.add(1)
    with nobody_reads(quick.log.url):
        quick.hears(span(second))
        await until(lambda: reads_wait(quick.log))
        quick.hears(*second, Range(0, second[-1].event.seq))
        quick.bucket.interrupted()
        assert not quick.bucket._inbox
    await quick.joined()
    assert waiting(stream) == seqs(first, second)


class HeldHistory(History):
    """Reads at once, and hands over what it read when the test says so."""

    def __init__(self, real: History) -> None:
        super().__init__(real._pool)
        self.holding = False
        self.held = asyncio.Event()
        self.let_go = asyncio.Event()

    async def reread(self, user_ids: list[str], *, after: int, upto: int | None, at_least: int = 0) -> Page:
        page = await super().reread(user_ids, after=after, upto=upto, at_least=at_least)
        if self.holding:
            self.held.set()
            await self.let_go.wait()
        return page


@pytest.mark.parametrize("what", ["joined", "missed", "interrupted"])
async def test_what_asks_for_a_reread_while_one_runs_gets_one_of_its_own(databases: Databases, what: str) -> None:
    """Rules 4.1 and 4.4: in a snapshot begun after the drop, after every channel was confirmed; this one's may be older."""
    with databases.migrated() as url:
        async with open_log(url) as (log, history):
            slow = HeldHistory(history)
            made = Scene(log, Bucket(0, slow, QuickClock()), QuickClock())
            async with running(made.bucket.run()):
                await made.joined()
                stream = made.stream(1)
                slow.holding = True
                made.bucket.missed()
                await slow.held.wait()
                batch = await log.add(1)  # too late for the snapshot, and nobody hears of it
                getattr(made.bucket, what)()
                slow.holding = False
                slow.let_go.set()
                await until(lambda: not stream.empty)
                assert waiting(stream) == seqs(batch)


async def test_what_arrives_while_a_reread_runs_is_too_late_for_its_snapshot_and_comes_after_it(
    databases: Databases,
) -> None:
    """Rule 4.1: its mark waits behind it; one that overtakes makes old news of what waits. [M: 28 of 500.]"""
    with databases.migrated() as url:
        async with open_log(url) as (log, history):
            slow = HeldHistory(history)
            made = Scene(log, Bucket(0, slow, QuickClock()), QuickClock())
            async with running(made.bucket.run()):
                await made.joined()
                stream = made.stream(1)
                slow.holding = True
                made.bucket.missed()
                await slow.held.wait()
                batch = await log.add(1, 1)
                made.hears(*batch, span(batch))
                slow.holding = False
                slow.let_go.set()
                await made.at_rest()
                assert waiting(stream) == seqs(batch)


async def test_a_stream_in_its_backlog_gets_nothing_of_a_reread_and_must_read_on(quick: Scene) -> None:
    """Rule 4.3: it drops its queue and reads on, in a snapshot begun after the re-read ended, before it goes live. [M: 131 of 500.]"""
    await quick.joined()
    starting, live = quick.stream(1, live=False), quick.stream(1)
    before = await quick.bucket.settled()
    batch = await quick.log.add(1)
    quick.hears(*batch)
    await until(lambda: not starting.empty)
    lost, later = await quick.log.add(1), await quick.log.add(1)
    quick.hears(span(later))
    await quick.at_rest()
    assert waiting(live) == seqs(batch, lost, later)
    assert starting.empty
    assert not quick.bucket.go_live(starting, before, 1)
    assert not starting.live
    assert quick.bucket.go_live(starting, await quick.bucket.settled(), 3)
    assert starting.live


async def test_nobody_goes_live_while_a_reread_runs(quick: Scene) -> None:
    """Rule 4.3."""
    await quick.joined()
    quick.stream(1)
    starting = quick.stream(1, live=False)
    epoch = await quick.bucket.settled()
    await quick.log.add(1, 2)
    with nobody_reads(quick.log.url):
        quick.hears(Range(1, 2))
        await until(lambda: reads_wait(quick.log))
        assert not quick.bucket.go_live(starting, epoch, 0)
        async with running(quick.bucket.settled()) as [settling]:
            await turns()
            assert not settling.done()


async def test_a_stream_that_overflowed_does_not_go_live(quick: Scene) -> None:
    await quick.joined()
    small = quick.stream(1, live=False, limit=1)
    epoch = await quick.bucket.settled()
    batch = await quick.log.add(1, 1)
    quick.hears(*batch, span(batch))
    await quick.at_rest()
    assert not quick.bucket.go_live(small, epoch, 0)


async def test_a_user_gets_what_is_for_him_and_for_everyone(quick: Scene) -> None:
    await quick.joined()
    mine, also_mine, anothers = quick.stream(1), quick.stream(1), quick.stream(2)
    batch = await quick.log.add(1, 2, None, 1, 3)
    quick.hears(*batch, span(batch))
    await quick.at_rest()
    assert waiting(mine) == waiting(also_mine) == [1, 3, 4]
    assert waiting(anothers) == [2, 3]
    lost, later = await quick.log.add(1, 2, None), await quick.log.add(3)
    quick.hears(span(later))
    await quick.at_rest()
    assert waiting(mine) == seqs(lost[::2])
    assert waiting(anothers) == seqs(lost[1:])


async def test_who_left_gets_nothing(quick: Scene) -> None:
    await quick.joined()
    gone, there = quick.stream(1), quick.stream(1)
    quick.bucket.remove(gone)
    batch = await quick.log.add(1)
    quick.hears(*batch, span(batch))
    await quick.at_rest()
    assert gone.empty
    assert waiting(there) == seqs(batch)
    quick.bucket.remove(there)
    assert quick.bucket.mailboxes == []


async def test_a_read_that_saw_less_than_was_heard_of_is_not_believed(quick: Scene) -> None:
    """Rule 4.5: last_seq in the snapshot must reach every `to` heard before, or the server is behind."""
    await quick.joined()
    stream = quick.stream(1)
    batch = await quick.log.add(1)
    quick.hears(*batch, span(batch), Range(5, 5))
    assert quick.bucket.known == 5
    await until(lambda: len(quick.clock.slept) > 2)
    assert quick.bucket.position == 1
    assert not quick.bucket.joined_up
    await quick.log.move(last_seq=5)
    await quick.at_rest()
    assert quick.bucket.position == 5
    assert waiting(stream) == seqs(batch)


async def test_the_position_never_falls_because_of_a_read(quick: Scene) -> None:
    """Rule 4.5: a primary that lost its tail must not pass for the truth."""
    await quick.log.add(1, 1)
    await quick.joined()
    assert quick.bucket.position == 2
    await quick.log.move(last_seq=1)
    quick.bucket.interrupted()
    quick.bucket.joined()
    await until(lambda: len(quick.clock.slept) > 2)
    assert quick.bucket.position == 2


async def test_after_30_seconds_behind_positions_are_forgotten_and_streams_end_without_one(
    databases: Databases,
) -> None:
    """Rule 4.5: a lost tail whose new start never came; the streams return and get `reset`."""
    async with scene(databases, HandClock()) as hand:
        await hand.log.add(1, 1)
        await hand.joined()
        stream, starting = hand.stream(1), hand.stream(2, live=False)
        await hand.log.move(last_seq=1)
        hand.bucket.interrupted()
        hand.bucket.joined()
        slept = 0.0
        while slept <= 30:
            await until(lambda: hand.clock.sleeping > 0)
            assert stream.ending is None, f"after {slept} s"
            hand.clock.advance(0.55)
            slept += 0.55
            await until(lambda: hand.clock.sleeping > 0)
        await until(lambda: stream.ending is not None)
        for mailbox in (stream, starting):
            assert mailbox.ending == "the log lost its tail"
            assert mailbox.silent_end
        hand.clock.advance(0.55)
        await hand.at_rest()
        assert hand.bucket.position == 1


async def test_after_forgetting_what_the_lost_log_said_is_forgotten_too(quick: Scene) -> None:
    """Marks of the lost tail that still wait must neither keep the bucket reading for ever nor hold up what comes."""
    await quick.joined()
    stream = quick.stream(1)
    quick.hears(*[Range(900, 900)] * 3)
    await until(lambda: stream.ending is not None)
    quick.bucket.remove(stream)
    await quick.at_rest()
    rereads = quick.bucket.epoch
    await turns(200)
    assert quick.bucket.epoch == rereads
    again = quick.stream(1)
    batch = await quick.log.add(1)
    quick.hears(*batch, span(batch))
    await quick.at_rest()
    assert waiting(again) == seqs(batch)


async def test_postgres_away_is_no_reason_to_end_anything(quick: Scene) -> None:
    """Facts: a loss of Postgres ends no stream; the re-read comes when it is back."""
    await quick.joined()
    stream = quick.stream(1)
    lost, later = await quick.log.add(1), await quick.log.add(1)
    await quick.log.sql.execute("ALTER TABLE rowcast.state RENAME TO hidden")
    quick.hears(span(later))
    await until(lambda: len(quick.clock.slept) > 100)
    assert stream.ending is None
    await quick.log.sql.execute("ALTER TABLE rowcast.hidden RENAME TO state")
    await quick.at_rest()
    assert waiting(stream) == seqs(lost, later)


async def test_a_burst_leaves_the_event_loop_to_others(quick: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TURN_ITEMS", 80)
    await quick.joined()
    stream = quick.stream(1, limit=100_000)
    batch = await quick.log.add(*[1] * 1000)
    quick.hears(*batch, span(batch))
    passed = 0
    while quick.bucket.position != quick.log.end:
        await asyncio.sleep(0)
        passed += 1
    assert passed > 10
    assert waiting(stream) == seqs(batch)


async def test_a_burst_for_one_stream_gives_it_a_turn_before_it_overflows(quick: Scene) -> None:
    """However many are handled in a turn: what a reader that keeps up would miss is read again from Postgres, which takes longer."""
    await quick.joined()
    stream = quick.stream(1, limit=100)
    batch = await quick.log.add(*[1] * 1000)
    quick.hears(*batch, span(batch))
    taken: list[int] = []
    while quick.bucket.position != quick.log.end:
        await asyncio.sleep(0)
        taken += waiting(stream)
    assert not stream.overflowed
    assert taken == seqs(batch)


async def test_a_flood_leaves_nobody_asleep(quick: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its last events are gathered, and nothing comes that would end it: neither an item, nor a heartbeat."""
    monkeypatch.setattr(gathering, "ENOUGH", 1000)
    await quick.joined()
    stream, woken = quick.busy_stream(1)
    batch = await quick.log.add(*[1] * FLOOD_ITEMS)
    quick.hears(*batch)
    async with asyncio.timeout(1):
        assert await woken
    assert waiting(stream) == seqs(batch)


@pytest.mark.parametrize("what", ["a hole", "an interruption", "a mark"])
async def test_what_was_gathered_goes_out_before_what_comes_then(
    quick: Scene, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """A re-read takes as long as Postgres does; a mark may be the last that is heard for a second."""
    monkeypatch.setattr(gathering, "GAP", 1000.0)
    monkeypatch.setattr(gathering, "ENOUGH", 1000)
    await quick.joined()
    stream, woken = quick.busy_stream(1)
    batch = await quick.log.add(*[1] * FLOOD_ITEMS)
    await quick.log.add(1)
    later = await quick.log.add(1)
    if what != "a hole":
        quick.hears(*batch)
        await quick.at_rest()
        await turns()
        assert not woken.done()
    with nobody_reads(quick.log.url):
        match what:
            case "a hole":
                quick.hears(*batch, *later)
            case "an interruption":
                quick.bucket.interrupted()
            case _:
                quick.hears(span(batch))
        async with asyncio.timeout(1):
            assert await woken
    assert waiting(stream)[: len(batch)] == seqs(batch)


async def test_pages_that_are_read_again_go_out_one_by_one(quick: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has something on the first is not kept waiting until the last is read."""
    monkeypatch.setitem(history_module._LIMITS, "page", 10)
    await quick.joined()
    stream = quick.stream(1)
    stream.took = quick.clock.now()
    batch = await quick.log.add(*[1] * 100)
    quick.bucket.missed()
    pages: list[list[int]] = []
    async with asyncio.timeout(5):
        while sum(map(len, pages)) < len(batch):
            assert await stream.woken()
            pages.append(waiting(stream))
    assert len(pages) == 10
    assert [seq for page in pages for seq in page] == seqs(batch)


async def test_a_reader_that_stands_still_shortens_no_more_than_one_turn(quick: Scene) -> None:
    await quick.joined()
    still, other = quick.stream(1, limit=100), quick.stream(2, limit=100_000)
    batch = await quick.log.add(*[1, 2] * 500)
    quick.hears(*batch, span(batch))
    passed = 0
    while quick.bucket.position != quick.log.end:
        await asyncio.sleep(0)
        passed += 1
    assert still.overflowed
    assert len(waiting(other)) == 500
    assert passed < 20


@pytest.mark.parametrize("how", ["heard", "read again"])
async def test_rows_for_everyone_leave_the_event_loop_to_many_streams(
    quick: Scene, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """64 rows for each of 15,000 streams are a million events: in one turn they would keep everybody waiting for a second."""
    monkeypatch.setattr(module, "TURN_EVENTS", 8)
    await quick.joined()
    streams = [quick.stream(user) for user in range(8)]
    batch = await quick.log.add(*[None] * 10)
    if how == "heard":
        quick.hears(*batch, span(batch))
    else:
        quick.bucket.missed()
    most = 0
    async with asyncio.timeout(5):
        while len(streams[0]._queue) < len(batch):
            before = sum(len(stream._queue) for stream in streams)
            await asyncio.sleep(0)
            most = max(most, sum(len(stream._queue) for stream in streams) - before)
    assert most <= 8
    await quick.at_rest()
    assert [waiting(stream) for stream in streams] == [seqs(batch)] * 8


async def test_a_stream_that_is_live_before_the_first_reread_misses_nothing_until_it(databases: Databases) -> None:
    """Rule 4.4: that re-read, begun after every channel was confirmed, starts where the stream's own snapshot ended."""
    with databases.migrated() as url:
        async with open_log(url) as (log, history):
            bucket = Bucket(0, history, QuickClock())
            made = Scene(log, bucket, QuickClock())
            await log.add(1)
            stream = made.stream(1, live=False)
            assert bucket.go_live(stream, await bucket.settled(), 1)
            lost = await log.add(1, 1)
            async with running(bucket.run()):
                await made.joined()
                assert waiting(stream) == seqs(lost)


async def test_of_two_streams_live_before_the_first_reread_the_older_snapshot_counts(databases: Databases) -> None:
    """The position is only assumed until a re-read has succeeded: that must begin below what any live stream lacks."""
    with databases.migrated() as url:
        async with open_log(url) as (log, history):
            bucket = Bucket(0, history, QuickClock())
            made = Scene(log, bucket, QuickClock())
            await log.add(1)
            older, newer = made.stream(1, live=False), made.stream(2, live=False)
            epoch = await bucket.settled()
            lost = await log.add(1, 2)
            assert bucket.go_live(newer, epoch, 3)
            assert bucket.go_live(older, epoch, 1)
            async with running(bucket.run()):
                await made.joined()
                assert waiting(older, 1) == [2]
                assert waiting(newer, 3) == []
            assert len(lost) == 2
