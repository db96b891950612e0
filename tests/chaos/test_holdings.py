"""What processes say of themselves is true: their tasks rise and fall with their streams, and doubles are counted."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack, suppress

import pytest

from tests.chaos.ensemble import Ensemble, ensemble
from tests.chaos.holdings import holdings
from tests.event_source import EventSource, open_stream
from tests.waiting import until

TRIES = 5


@pytest.mark.slow
async def test_tasks_rise_and_fall_with_streams_and_doubles_are_counted() -> None:
    async with ensemble(bridges=1, webs=1) as e, AsyncExitStack() as stack:
        before = await _of_web_by_now(e, "tasks")
        streams = [await stack.enter_async_context(open_stream(f"{e.client_urls[0]}/events/1")) for _ in range(20)]
        for stream in streams:
            await stream.live()
        await until(lambda: _tasks_within(e, before + 20, before + 200))
        assert await _of_web(e, "doubles") == 0
        rows: list[str] = []
        while not rows or not await _doubled(e):
            assert len(rows) < TRIES
            await _lose_an_answer(e, rows, streams[0])
        await stack.aclose()
        await until(lambda: _tasks_within(e, 1, before + 2))


async def _lose_an_answer(e: Ensemble, rows: list[str], stream: EventSource) -> None:
    """Of a row, which is then sent again; or, by chance, of the question put first whether this is still the primary: then none was sent."""
    way = e.wires["bridge0-redis"]
    way.black_hole(up=False)
    rows.append(f"sent, and sent again for want of an answer: {len(rows)}")
    await e.rig.insert(1, rows[-1])
    await stream.receives(*rows)
    way.heal()
    with suppress(TimeoutError):
        await until(lambda: _doubled(e))


async def _of_web_by_now(e: Ensemble, what: str) -> float:
    """What it says from now on: in its first second it has not begun most of its tasks."""
    told, began = e.inside / str(e.webs[0].pid), time.time()
    await until(lambda: told.exists() and told.stat().st_mtime > began)
    return await _of_web(e, what)


async def _of_web(e: Ensemble, what: str) -> float:
    held = await holdings({"web0": e.webs[0].pid}, e.inside, e.writer_url, e.redis.primary.url)
    return held[f"web0 {what}"]


async def _tasks_within(e: Ensemble, least: float, most: float) -> bool:
    return least <= await _of_web(e, "tasks") <= most


async def _doubled(e: Ensemble) -> bool:
    return await _of_web(e, "doubles") > 0
