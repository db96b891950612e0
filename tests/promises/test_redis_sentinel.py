"""Redis watched by Sentinels, under load: row 19 of the fault matrix in docs/delivery.md. The primary dies, hangs, is sent away, or goes on
serving beside its successor; both sides find the new one.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from tests.db.databases import Databases
from tests.own_sentinels import Watched, watched
from tests.promises.load import Load, under_load
from tests.rig import Process, Rig, ready, rig

pytestmark = pytest.mark.slow

_log = logging.getLogger("tests.sentinel")

HEALS = 10.0


@dataclass
class Running:
    """What runs over the server that the Sentinels call the primary."""

    own: Rig
    redis: Watched
    bridge: Process
    webs: list[tuple[str, Process]]
    load: Load

    async def heals(self) -> None:
        """Every stream flows and every process is ready, and it is Redis that the rows come by."""
        began = time.monotonic()
        await self.load.flows(within=HEALS)
        for url, web in self.webs:
            await ready(url, web, timeout=HEALS - (time.monotonic() - began))
        _log.info("all is well again after %.1f s", time.monotonic() - began)
        self.load.writer.unharmed()


@asynccontextmanager
async def over(databases: Databases) -> AsyncIterator[Running]:
    """A bridge, two web processes and clients, until the end of the block; then everything has arrived once and in order."""
    async with watched() as redis:
        with databases.migrated() as address:
            async with rig(address, redis.url, prefix="watched", retry="0.1") as own:
                bridge = await own.bridge()
                webs = [await own.web() for _ in range(2)]
                async with under_load(own, *(url for url, _ in webs)) as load:
                    yield Running(own, redis, bridge, webs, load)


async def test_a_primary_that_dies_is_replaced_and_returns_as_a_replica(databases: Databases) -> None:
    """Twice; and a Sentinel is dead, too, the second time."""
    async with over(databases) as run:
        for number in range(2):
            old = run.redis.primary
            old.kill()
            await run.redis.fails_over(old)
            await run.heals()
            await asyncio.to_thread(old.start)
            await run.redis.settles()
            await run.heals()
            if not number:
                run.redis.sentinels[0].stop()
                await run.heals()


async def test_a_primary_that_hangs_is_replaced(databases: Databases) -> None:
    async with over(databases) as run:
        old = run.redis.primary
        old.freeze()
        await run.redis.fails_over(old)
        await run.heals()
        old.thaw()
        await run.redis.settles()
        await run.heals()


async def test_a_failover_on_request(databases: Databases) -> None:
    async with over(databases) as run:
        for _ in range(2):
            old = run.redis.primary
            await run.redis.sentinels[1].ask("SENTINEL", "FAILOVER", run.redis.name)
            await run.redis.fails_over(old)
            await run.heals()
            await run.redis.settles()
            await run.heals()


async def test_an_old_primary_that_goes_on_serving_is_left(databases: Databases) -> None:
    """The Sentinels can't reach it, Rowcast can, and so it takes every row; and one Sentinel hangs, and does not know of the failover at first."""
    async with over(databases) as run:
        old, behind = run.redis.primary, run.redis.sentinels[2]
        behind.freeze()
        await run.redis.cut_off(old)
        await run.redis.fails_over(old)
        assert (await old.ask("ROLE"))[0] == b"master"
        await run.heals()
        behind.thaw()
        await run.heals()
        await run.redis.join_again()
        await run.redis.settles()
        await run.heals()
