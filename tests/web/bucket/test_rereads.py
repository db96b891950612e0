"""A bucket that reads again what was missed, and who goes live meanwhile (protocol.md 4)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from core.errors import DatabaseUnavailableError
from core.events import Range
from db import history as history_module
from db.history import History, Page
from tests.clocks import HandClock, QuickClock
from tests.db.databases import Databases
from tests.waiting import running, turns, until
from tests.web.bucket.scene import Scene, scene, seqs, waiting
from tests.web.log import nobody_reads, open_log, reads_wait, span
from web import bucket as module
from web.bucket import Bucket
from web.mailbox import Mailbox


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

    async def reread(
        self, user_ids: list[str], *, after: int, upto: int | None, at_least: int = 0, limit: float | None = None
    ) -> Page:
        self.pages -= 1
        if self.pages == -1:
            raise DatabaseUnavailableError
        return await super().reread(user_ids, after=after, upto=upto, at_least=at_least, limit=limit)


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

    async def reread(
        self, user_ids: list[str], *, after: int, upto: int | None, at_least: int = 0, limit: float | None = None
    ) -> Page:
        page = await super().reread(user_ids, after=after, upto=upto, at_least=at_least, limit=limit)
        if self.holding:
            self.held.set()
            await self.let_go.wait()
        return page

    def go_on(self) -> None:
        self.holding = False
        self.let_go.set()


@asynccontextmanager
async def rereading(databases: Databases) -> AsyncIterator[tuple[Scene, Mailbox, HeldHistory]]:
    """In the middle of a re-read, with one live stream, until it is told to go on."""
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
                yield made, stream, slow


@pytest.mark.parametrize("what", ["joined", "missed", "interrupted"])
async def test_what_asks_for_a_reread_while_one_runs_gets_one_of_its_own(databases: Databases, what: str) -> None:
    """Rules 4.1 and 4.4: in a snapshot begun after the drop, after every channel was confirmed; this one's may be older."""
    async with rereading(databases) as (made, stream, slow):
        batch = await made.log.add(1)  # too late for the snapshot, and nobody hears of it
        getattr(made.bucket, what)()
        slow.go_on()
        await until(lambda: not stream.empty)
        assert waiting(stream) == seqs(batch)


async def test_what_arrives_while_a_reread_runs_is_too_late_for_its_snapshot_and_comes_after_it(
    databases: Databases,
) -> None:
    """Rule 4.1: its mark waits behind it; one that overtakes makes old news of what waits. [M: 28 of 500.]"""
    async with rereading(databases) as (made, stream, slow):
        batch = await made.log.add(1, 1)
        made.hears(*batch, span(batch))
        slow.go_on()
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
