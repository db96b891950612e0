"""Clocks that jump by an hour, back and forth, on any host: neither order nor heartbeats nor healing nor terms depend on the time of day."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from email.utils import parsedate_to_datetime
from pathlib import Path
from signal import SIGCONT, SIGSTOP

import httpx
import pytest

from db.migrate import migrate
from tests.event_source import EventSource
from tests.parts import missing, require
from tests.promises.health import get
from tests.promises.leaders import REPLACED
from tests.promises.load import under_load
from tests.promises.own_postgres import OwnPostgres
from tests.rig import Rig, free_port, ready, rig
from tests.servers import embedded_valkey, folder
from tests.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

HEALS = 10.0
HOUR = 3600
QUIET = 3.6  # seconds between bursts of rows: more than a process may hear no mark
HEARTBEAT = re.compile(rb"^:$", re.MULTILINE)


class FalseClock:
    """The time of day of one host; only that, for nobody's monotonic clock ever jumps.

    libfaketime shows the true time to the signal handler of a process that waits. So a Postgres that is behind takes every session
    for idle after ten seconds and ends it, as no real one does; who leads then changes by itself.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._file = folder / name
        self.jump(0)

    def jump(self, seconds: int) -> None:
        """So far from the true time, within a second."""
        written = self._file.with_suffix(".new")
        written.write_text(f"{seconds:+d}\n")
        written.chmod(0o644)
        written.replace(self._file)

    @contextmanager
    def worn(self) -> Iterator[None]:
        """Processes started in this block live by it."""
        worn = {
            "LD_PRELOAD": str(library()),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_RESET": "1",
        }
        os.environ.update(worn)
        try:
            yield
        finally:
            for name in worn:
                del os.environ[name]


def library() -> Path:
    """libfaketime, which the program `faketime` brings."""
    require("faketime")
    found = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
    return found or missing("no libfaketimeMT.so.1 below /usr/lib, where Debian's faketime has it")


@asynccontextmanager
async def hosts() -> AsyncIterator[tuple[Rig, dict[str, FalseClock]]]:
    """A Postgres with a clock of its own, and clocks for a host of bridges and one of web processes."""
    with folder() as state, folder() as times, embedded_valkey() as valkey:
        clocks = {name: FalseClock(times, name) for name in ("postgres", "bridge", "web")}
        with clocks["postgres"].worn():
            server = OwnPostgres(state, {})
        try:
            await asyncio.to_thread(migrate, server.url, say=lambda _: None)
            async with rig(server.url, valkey.url, prefix="own", retry="0.1", heartbeat="0.5") as own:
                yield own, clocks
        finally:
            server.stop()


async def test_clocks_that_jump_by_an_hour_change_nothing() -> None:
    async with hosts() as (own, clocks):
        at = f"127.0.0.1:{free_port()}"
        with clocks["bridge"].worn():
            leader, standby = await own.bridge("--health-bind", at), await own.bridge()
        with clocks["web"].worn():
            url, web = await own.web()
        times = {"postgres": lambda: now(own), "bridge": lambda: date(f"http://{at}"), "web": lambda: date(url)}
        async with under_load(own, url, pause=QUIET) as load:
            for host, clock in clocks.items():
                for jump in (HOUR, -HOUR):
                    clock.jump(jump)
                    await until(lambda: shows(times[host], jump))  # noqa: B023 -- awaited in this turn
                    await load.flows(within=HEALS)
                    await ready(url, web, timeout=HEALS)
                    await asyncio.gather(stays_ready(url), heart_beats(load.streams[0]))
            # All are an hour behind now: the next term begins above the last all the same.
            for dying in (leader, standby):
                with clocks["bridge"].worn():
                    fresh = await own.bridge()
                await fresh.logged("leader.")  # following or, see FalseClock, leading
                await dying.kill()
                await load.flows(within=HEALS)
            load.writer.unharmed()
        logs = [process.log for process in (leader, standby, fresh)]
        terms = [int(seq) for log in logs for seq in re.findall(r'"seq": (\d+), "event": "term.started"', log)]
        assert len(set(terms)) == len(terms) >= 3


async def now(own: Rig) -> float:
    async with own.sql() as sql:
        [(seconds,)] = await (await sql.execute("SELECT extract(epoch FROM clock_timestamp())")).fetchall()
    return float(seconds)


async def date(url: str) -> float:
    """What the process takes for the time of day."""
    return parsedate_to_datetime((await get(url, "/healthz")).headers["date"]).timestamp()


async def shows(told: Callable[[], Awaitable[float]], jump: int) -> bool:
    return abs(await told() - time.time() - jump) < 60


async def stays_ready(url: str) -> None:
    """Also while no rows come: the bridge's marks go on."""
    async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
        end = time.monotonic() + QUIET + 0.5
        while time.monotonic() < end:
            answer = await http.get("/readyz")
            assert answer.status_code == httpx.codes.OK, answer.text
            await asyncio.sleep(0.1)  # how often to ask


async def heart_beats(stream: EventSource) -> None:
    """A quiet stream goes on showing that it is alive."""

    def beats() -> int:
        return len(HEARTBEAT.findall(stream.raw))

    before = beats()
    await stream.until(lambda: beats() > before + 1, timeout=5)


async def test_a_frozen_leader_is_replaced_within_15_s_though_postgres_thinks_it_earlier_than_before() -> None:
    """Neither who watches nor how long a session was idle is told by the time of day."""
    async with hosts() as (own, clocks):
        leader = await own.bridge()
        await leader.logged("leader.leading")
        standby = await own.bridge()
        await standby.logged("leader.following")
        url, web = await own.web()
        async with under_load(own, url, pause=QUIET) as load:
            await load.flows()
            leader.send(SIGSTOP)
            frozen = time.monotonic()
            clocks["postgres"].jump(-HOUR)
            await standby.logged("leader.leading", timeout=60)
            assert time.monotonic() - frozen < REPLACED
            await load.flows(within=HEALS)
            await ready(url, web, timeout=HEALS)
            leader.send(SIGCONT)
            await leader.logged("connection.lost", timeout=30)
            await load.flows(within=HEALS)
            load.writer.unharmed()
