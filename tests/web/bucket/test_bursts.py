"""A bucket under bursts and floods: bounded, fair to others, and nothing is left lying."""

from __future__ import annotations

import asyncio

import pytest

from db import history as history_module
from tests.waiting import DEADLINE, turns, until
from tests.web.bucket.scene import Scene, seqs, waiting
from tests.web.log import nobody_reads, reads_wait, span
from web import bucket as module
from web import gathering
from web.gathering import FLOOD_ITEMS


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
    async with asyncio.timeout(DEADLINE):
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
        async with asyncio.timeout(DEADLINE):
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
    async with asyncio.timeout(DEADLINE):
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
    async with asyncio.timeout(DEADLINE):
        while len(streams[0]._queue) < len(batch):
            before = sum(len(stream._queue) for stream in streams)
            await asyncio.sleep(0)
            most = max(most, sum(len(stream._queue) for stream in streams) - before)
    assert most <= 8
    await quick.at_rest()
    assert [waiting(stream) for stream in streams] == [seqs(batch)] * 8
