"""HTTP servers and event loops side by side: `python -m bench.servers`.

Each pair on one Rowcast, turn about, a web process of its own for each kind of figure. CPU and memory are the web process's; the clients are
bare sockets in this one.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeAlias

import psutil

from bench.crowd import Crowd
from tests.db.databases import Databases
from tests.rig import Rig, rig
from tests.servers import embedded_postgres, embedded_valkey

Pair: TypeAlias = tuple[str, str]
Figures: TypeAlias = dict[str, float]

PAIRS: tuple[Pair, ...] = (
    ("hypercorn", "asyncio"),
    ("hypercorn", "uvloop"),
    ("uvicorn", "asyncio"),
    ("uvicorn", "uvloop"),
)
STREAMS, MANY = 1000, 5000
EVENTS, ROWS = 50, 200
# What Python runs first in each process whose path leads here.
UVLOOP = Path(__file__).parent / "on_uvloop"
_INSERT = "INSERT INTO notifications (user_id, message) VALUES (%s, %s)"


async def measure(own: Rig, pair: Pair) -> Figures:
    """All figures of one pair."""
    async with _web(own, pair) as (port, web):
        figures = await _fan_out(own, port, web)
    async with _web(own, pair) as (port, web):
        return figures | await _open_many(port, web)


@asynccontextmanager
async def _web(own: Rig, pair: Pair) -> AsyncIterator[tuple[int, psutil.Process]]:
    server, loop = pair
    own.environment = {"PYTHONPATH": str(UVLOOP)} if loop == "uvloop" else {}
    url, web = await own.web(server=server)
    try:
        yield int(url.rpartition(":")[2]), psutil.Process(web.pid)
    finally:
        await web.kill()


async def _fan_out(own: Rig, port: int, web: psutil.Process) -> Figures:
    with Crowd(port) as crowd, Crowd(port) as one:
        await asyncio.to_thread(crowd.open, STREAMS)
        await asyncio.to_thread(one.open, 1)
        async with own.sql() as sql:
            took = []
            for number in range(ROWS):
                began = time.perf_counter()
                await sql.execute(_INSERT, (one.first, f"row {number}"))
                await asyncio.to_thread(one.events, 1)
                took.append((time.perf_counter() - began) * 1000)
            await asyncio.to_thread(crowd.events, ROWS)  # the same user's stream in the crowd
            before = _cpu(web)
            for number in range(EVENTS):
                await sql.execute(_INSERT, (None, f"for all {number}"))
                await asyncio.to_thread(crowd.events, STREAMS)
            spent = _cpu(web) - before
    return {
        "INSERT to client, 1,000 streams open, p50 (ms)": statistics.median(took),
        "CPU per event, one row at a time to 1,000 streams (us)": spent / EVENTS / STREAMS * 1e6,
    }


async def _open_many(port: int, web: psutil.Process) -> Figures:
    memory, before = web.memory_info().rss, _cpu(web)
    with Crowd(port) as crowd:
        began = time.perf_counter()
        await asyncio.to_thread(crowd.open, MANY)
        took = time.perf_counter() - began
        spent, held = _cpu(web) - before, web.memory_info().rss - memory
    return {
        "opening 5,000 streams (s)": took,
        "CPU to open one of them (us)": spent / MANY * 1e6,
        "memory of one of them, idle (KiB)": held / MANY / 1024,
    }


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


async def measure_all(rounds: int) -> list[str]:
    """Lines of a table, as Markdown: medians, and each as a ratio to the first pair's."""
    found: dict[str, dict[Pair, list[float]]] = {}
    with embedded_postgres() as postgres, embedded_valkey() as valkey, Databases(postgres.url).migrated() as url:
        async with rig(url, valkey.url, prefix="bench") as own:
            await own.bridge()
            for _ in range(rounds):
                for pair in PAIRS:
                    for name, figure in (await measure(own, pair)).items():
                        found.setdefault(name, {}).setdefault(pair, []).append(figure)
    heads = " | ".join(f"{server}, {loop}" for server, loop in PAIRS)
    return [f"| | {heads} |", "|---" + "|---:" * len(PAIRS) + "|", *(_row(name, found[name]) for name in found)]


def _row(name: str, figures: dict[Pair, list[float]]) -> str:
    medians = [statistics.median(figures[pair]) for pair in PAIRS]
    return f"| {name} | " + " | ".join(f"{one:.1f} ({one / medians[0]:.2f})" for one in medians) + " |"


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(prog="python -m bench.servers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (default %(default)s)")
    for line in asyncio.run(measure_all(parser.parse_args().rounds)):
        print(line, flush=True)  # noqa: T201 -- a command's output


if __name__ == "__main__":
    main()
