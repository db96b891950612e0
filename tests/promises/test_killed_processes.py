"""Processes killed without a word, at any step of their work: whoever stays, and whoever reconnects, has every row once, in order."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM

import psutil
import pytest

from core.clock import happens
from core.fail_points import Point
from db.migrate import migrate
from tests.fanout.own_valkey import OwnValkey
from tests.promises.load import Load, under_load
from tests.promises.own_postgres import OwnPostgres
from tests.rig import Process, Rig, free_port, ready, rig
from tests.servers import folder
from tests.wire import Wire, wire

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

HEALS = 10.0
STEPS = (Point.TERM_STARTED, Point.CLAIMED, Point.BODIES_READ, Point.PART_SENT, Point.SENT, Point.MARKED)


@asynccontextmanager
async def restless(way: Wire) -> AsyncIterator[None]:
    """Cut all that goes this way, twice a second, until the end of the block."""
    over = asyncio.Event()

    async def cut() -> None:
        while not await happens(over, 0.5):
            way.reset()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(cut(), name="restless")
        try:
            yield
        finally:
            over.set()


async def test_a_bridge_killed_at_any_step_of_its_work_loses_and_doubles_nothing(own: Rig) -> None:
    """One after the other leads and dies, each at another step. Half of the streams reconnect all the time."""
    chance = random.Random(1)
    leader = await own.bridge()
    url, web = await own.web()
    async with wire(url) as way, under_load(own, url, way.url) as load, restless(way):
        for step in STEPS:
            nth = 1 if step in (Point.TERM_STARTED, Point.PART_SENT) else chance.randint(1, 20)
            armed = await own.bridge(fail_points=f"{step}=kill@{nth}")
            await armed.logged("leader.following", timeout=60)
            await leader.kill()
            await armed.logged("leader.leading", timeout=HEALS)
            leader = await own.bridge()
            if step is Point.PART_SENT:
                await more_than_a_piece(own)
            assert await armed.ended(timeout=30) == -SIGKILL
            assert armed.log.count("fail_point.reached") == 1
            await leader.logged("leader.leading", timeout=HEALS)
            await load.flows(within=HEALS)
        await ready(url, web, timeout=HEALS)
        load.writer.unharmed()


async def more_than_a_piece(own: Rig) -> None:
    """Rows of one range that goes in several pieces."""
    async with own.sql() as sql:
        await sql.execute(
            "INSERT INTO notifications (user_id, message) SELECT 1, repeat('x', 600000) FROM generate_series(1, 3)"
        )


async def test_a_killed_worker_and_a_killed_main_of_workers_lose_and_double_nothing(own: Rig) -> None:
    """Of the main alone: its workers go by themselves, and leave the port to the next."""
    await own.bridge()
    port = free_port()
    url, main = await own.web("--workers", "2", port=port)
    async with wire(url) as way, under_load(own, url, way.url) as load, restless(way):
        for _ in range(2):
            psutil.Process(workers(main)[0]).kill()
            await load.flows(within=HEALS)
        orphans = [psutil.Process(pid) for pid in workers(main)]
        assert orphans
        await main.kill()
        _, alive = await asyncio.to_thread(psutil.wait_procs, orphans, 10)
        assert not alive
        url, main = await own.web("--workers", "2", port=port)
        await load.flows(within=HEALS)
        load.writer.unharmed()


def workers(main: Process) -> list[int]:
    """Their pids, the eldest first."""
    children = sorted(psutil.Process(main.pid).children(), key=lambda child: child.create_time())
    return [child.pid for child in children if "fd://" in " ".join(child.cmdline())]


class Restarts:
    """Everything there is, and how to end and start it."""

    def __init__(self, own: Rig, postgres: OwnPostgres, valkey: OwnValkey, chance: random.Random) -> None:
        self.own = own
        self.postgres = postgres
        self.valkey = valkey
        self.chance = chance
        self.bridges: list[Process] = []
        self.webs: list[tuple[int, Process]] = []

    async def start(self) -> list[str]:
        self.bridges = [await self.own.bridge(), await self.own.bridge()]
        for port in (free_port(), free_port()):
            _, web = await self.own.web(port=port)
            self.webs.append((port, web))
        return [f"http://127.0.0.1:{port}" for port, _ in self.webs]

    async def do(self, what: str, load: Load) -> None:
        kind, _, how = what.partition(" ")
        number = self.chance.randrange(2)
        match kind:
            case "bridge":
                await self._end(self.bridges[number], how)
                if how != "freeze":
                    self.bridges[number] = await self.own.bridge()
            case "web":
                port, web = self.webs[number]
                await self._end(web, how)
                if how != "freeze":
                    _, restarted = await self.own.web_unready(port=port)
                    self.webs[number] = (port, restarted)
            case "valkey":
                await asyncio.to_thread(self.valkey.kill if how == "kill" else self.valkey.stop)
                await asyncio.to_thread(self.valkey.start)
            case _:
                await (self.postgres.kill() if how == "kill" else asyncio.to_thread(self.postgres.stop))
                await self.postgres.start()
        if self.chance.random() < 0.5:  # else the next comes on top of it
            await load.flows(within=30)

    async def _end(self, process: Process, how: str) -> None:
        if how == "freeze":
            process.send(SIGSTOP)
            await asyncio.sleep(self.chance.uniform(0.5, 2))  # how long the fault lasts
            process.send(SIGCONT)
        elif how == "kill":
            await process.kill()
        else:
            process.send(SIGTERM)
            assert await process.ended() == 0, process.log


EVERYTHING = [f"{part} {how}" for part in ("bridge", "web") for how in ("restart", "kill", "freeze")]
EVERYTHING += [f"{part} {how}" for part in ("valkey", "postgres") for how in ("restart", "kill")]


@pytest.mark.parametrize("seed", [32])
async def test_everything_restarted_in_random_order_loses_and_doubles_nothing(seed: int) -> None:
    chance = random.Random(seed)
    with folder() as state, folder() as memory:
        postgres, valkey = OwnPostgres(state, {"fsync": "on", "full_page_writes": "on"}), OwnValkey(memory)
        try:
            await asyncio.to_thread(migrate, postgres.url, say=lambda _: None)
            async with rig(postgres.url, valkey.url, prefix="own", retry="0.1") as own:
                restarts = Restarts(own, postgres, valkey, chance)
                urls = await restarts.start()
                async with under_load(own, *urls) as load:
                    for what in chance.sample(EVERYTHING, len(EVERYTHING)):
                        await restarts.do(what, load)
                    await load.flows(within=HEALS)
                    for port, web in restarts.webs:
                        await ready(f"http://127.0.0.1:{port}", web, timeout=HEALS)
        finally:
            postgres.stop()
            valkey.stop()
