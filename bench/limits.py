"""What each part costs for one row: the inputs of docs/scaling.md. `python -m bench.limits`."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeAlias

import psutil

from bench.crowd import Crowd
from core.events import Range
from db.connect import Connection, session
from db.outbox import NOTHING_HELD, SOURCES, claim, read_range
from rowcast.embedded import start_postgres, start_valkey
from tests.db.databases import Databases
from tests.rig import Rig, rig
from tests.servers import folder
from tests.waiting import until

Figures: TypeAlias = dict[str, float]

BATCH, BATCHES, SINGLES = 1000, 60, 300
DRAINED = 100_000
STREAMS, EVENTS, QUIET = 5000, 20, 30.0
_FILL = (
    "INSERT INTO notifications (user_id, message) "
    "SELECT i %% 1000, 'message ' || i || repeat(' and what it says', 4) FROM generate_series(1, %s) AS i"
)
_MILLION = 1e6


async def claims(sql: Connection, bridge: Connection) -> Figures:
    """The claim session, which is one: what a commit costs and what a row adds, in time and in WAL; and the read of the bodies."""
    alone = [await _one_claim(sql, bridge, 1) for _ in range(SINGLES)]
    began = await _wal(sql)
    await sql.execute(_FILL, (BATCH * BATCHES,))
    written = await _wal(sql) - began
    began = await _wal(sql)
    full, reads = [], []
    for _ in range(BATCHES):
        took, span = await _timed_claim(bridge)
        full.append(took)
        start = time.perf_counter()
        async for _ in read_range(sql, SOURCES[0], span):
            pass
        reads.append(time.perf_counter() - start)
    stamped = await _wal(sql) - began
    one, many = statistics.median(alone), statistics.median(full)
    per_row = (many - one) / (BATCH - 1)
    rows = BATCH * BATCHES
    return {
        "claim commit (ms)": (one - per_row) * 1000,
        "claim row (us)": per_row * _MILLION,
        "body row (us)": statistics.median(reads) / BATCH * _MILLION,
        "insert WAL (bytes)": written / rows,
        "claim WAL (bytes)": stamped / rows,
    }


async def _one_claim(sql: Connection, bridge: Connection, rows: int) -> float:
    await sql.execute(_FILL, (rows,))
    return (await _timed_claim(bridge))[0]


async def _timed_claim(bridge: Connection) -> tuple[float, Range]:
    began = time.perf_counter()
    done = await claim(bridge, SOURCES[0], NOTHING_HELD, batch=BATCH)
    took = time.perf_counter() - began
    if done.stamped is None:
        raise RuntimeError("nothing was there to be claimed")
    return took, done.stamped


async def _wal(sql: Connection) -> int:
    row = await (await sql.execute("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn")).fetchone()
    return int(row[0]) if row else 0


async def carrying(own: Rig, valkey: psutil.Process) -> Figures:
    """Bridge and Redis: CPU for each row of a large statement, all of it on its way to nobody."""
    bridge = await own.bridge()
    await bridge.logged("term.started")
    parts = {"bridge row (us)": psutil.Process(bridge.pid), "Redis row (us)": valkey}
    before = {name: _cpu(part) for name, part in parts.items()}
    async with own.sql() as sql:
        await sql.execute(_FILL, (DRAINED,))
        await until(lambda: _all_stamped(sql), timeout=120)
        await asyncio.sleep(1.5)  # what was stamped last is still on its way
    return {name: (_cpu(part) - before[name]) / DRAINED * _MILLION for name, part in parts.items()}


async def _all_stamped(sql: Connection) -> bool:
    row = await (await sql.execute("SELECT NOT EXISTS (SELECT FROM notifications WHERE seq IS NULL)")).fetchone()
    return bool(row and row[0])


async def serving(own: Rig, server: str) -> Figures:
    """One web process: memory and CPU of streams, quiet and not."""
    url, process = await own.web(server=server)
    port, web = int(url.rpartition(":")[2]), psutil.Process(process.pid)
    memory, cpu = web.memory_info().rss, _cpu(web)
    with Crowd(port) as crowd:
        await asyncio.to_thread(crowd.open, STREAMS)
        opened, held = _cpu(web) - cpu, web.memory_info().rss - memory
        cpu = _cpu(web)
        await asyncio.sleep(QUIET)
        quiet = _cpu(web) - cpu
        async with own.sql() as sql:
            cpu = _cpu(web)
            for number in range(EVENTS):
                await sql.execute("INSERT INTO notifications (message) VALUES (%s)", (f"for all {number}",))
                await asyncio.to_thread(crowd.events, STREAMS)
            spent = _cpu(web) - cpu
    await process.kill()
    return {
        f"{server} stream (KiB)": held / STREAMS / 1024,
        f"{server} opening (us)": opened / STREAMS * _MILLION,
        f"{server} idle stream (us/s)": quiet / QUIET / STREAMS * _MILLION,
        f"{server} event (us)": spent / EVENTS / STREAMS * _MILLION,
    }


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


@asynccontextmanager
async def _rowcast() -> AsyncIterator[tuple[Rig, psutil.Process]]:
    with folder() as state:
        postgres = await asyncio.to_thread(start_postgres, state)
        valkey = await asyncio.to_thread(start_valkey, state)
        try:
            with Databases(postgres.url).migrated() as address:
                async with rig(address, valkey.url, prefix="bench") as own:
                    yield own, psutil.Process(valkey.child.pid)
        finally:
            valkey.stop()
            postgres.stop()


async def measure() -> Figures:
    """All of them, one after the other."""
    async with _rowcast() as (own, valkey):
        async with session(own.database_url, name="bench") as sql, session(own.database_url, name="bench") as bridge:
            figures = await claims(sql, bridge)
        figures |= await carrying(own, valkey)
        for server in ("hypercorn", "uvicorn"):
            figures |= await serving(own, server)
    return figures


def main() -> None:
    """Measure, print."""
    for name, figure in asyncio.run(measure()).items():
        print(f"{name:<28} {figure:>10,.2f}", flush=True)  # noqa: T201 -- a command's output


if __name__ == "__main__":
    main()
