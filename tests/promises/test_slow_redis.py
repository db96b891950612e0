"""A slow way to Redis, from the bridge or to the web process: row 23 of the fault matrix in docs/delivery.md."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.db.databases import Databases
from tests.promises.load import under_load
from tests.promises.wired import Wired, wired

pytestmark = pytest.mark.slow

LONG = 12.0
# Three seconds until a row counts as late, one until that is looked at, one for reading it, and what a busy machine takes.
LATEST = 8.0


@pytest.fixture
async def broken(databases: Databases) -> AsyncIterator[Wired]:
    async with wired(databases) as made:
        yield made


@pytest.mark.parametrize(("where", "fault"), [("bridge", "1 s late"), ("bridge", "10 kB/s"), ("web", "10 kB/s")])
async def test_a_slow_way_to_redis_delays_rows_by_seconds_however_long_it_lasts(
    broken: Wired, where: str, fault: str
) -> None:
    """What is not silent is late, ever more so, and looks well from either end: only the log tells."""
    wire = broken.bridge_wire if where == "bridge" else broken.web_wire
    async with under_load(broken.own, broken.url) as load, broken.fault(load):
        if fault == "1 s late":
            wire.delay(0.5)
        else:
            wire.throttle(10_000)
        loop = asyncio.get_running_loop()
        end = loop.time() + LONG
        while loop.time() < end:
            await load.flows(within=LATEST)
        wire.heal()
    assert "delivery.late" in broken.web.log
