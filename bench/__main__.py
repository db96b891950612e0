"""`python -m bench`: start servers of its own, measure, print one table for each measurement; or compare two revisions, or inflict faults."""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import statistics
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bench import against, faults, measures
from bench.measures import Figures
from rowcast.embedded import start_postgres
from tests.db.databases import Databases
from tests.rig import Rig, rig
from tests.servers import embedded_valkey, folder

RUNS = 5


def main() -> None:
    """Measure everything here, or with --against the main figures here and there, or with --faults what they cost."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--against", metavar="REVISION", help="compare this checkout with another revision of it, in one run"
    )
    parser.add_argument(
        "--faults", action="store_true", help="what each kind of fault costs writers, and how soon it heals"
    )
    parser.add_argument(
        "--rounds", type=int, help=f"how often each is measured (default {RUNS}, of faults {faults.ROUNDS})"
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=faults.SECONDS,
        help="of each fault, and of quiet before it (default %(default)s)",
    )
    parser.add_argument("--only", default="", help="faults whose names contain this")
    arguments = parser.parse_args()
    if arguments.against:
        against.main(arguments.against, arguments.rounds or RUNS)
    elif arguments.faults:
        rounds = arguments.rounds or faults.ROUNDS
        _say(f"{_machine()}; median (lowest to highest) of {rounds}, the slowest of all, without → with the fault")
        faults.main(rounds, arguments.seconds, arguments.only)
    else:
        asyncio.run(measure_all())


async def measure_all() -> None:
    """Measure everything, one after the other, on one machine in one run."""
    _say(f"{_machine()}; median (lowest to highest) of {RUNS}")
    async with _rowcast() as (own, url):
        bridge = await own.bridge()
        await bridge.logged("term.started")
        _table("INSERT to client, one row at a time", [await measures.latency(own, url) for _ in range(RUNS)])
        _table("20,000 rows of one statement to one client", [await measures.drain(own, url) for _ in range(RUNS)])
    async with _rowcast() as (own, _):
        _table("16 clients, one row a commit, fsync on", [await measures.writers(own) for _ in range(RUNS)])


def _machine() -> str:
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"


@asynccontextmanager
async def _rowcast() -> AsyncIterator[tuple[Rig, str]]:
    """Servers as `rowcast up` starts them, flushes included, and a web process; the bridge is up to the measurement."""
    with folder() as state, embedded_valkey() as valkey:
        server = await asyncio.to_thread(start_postgres, state)
        try:
            with Databases(server.url).migrated() as address:
                async with rig(address, valkey.url, prefix="bench") as own:
                    bridge = await own.bridge()
                    url, _ = await own.web()
                    await bridge.kill()
                    yield own, url
        finally:
            server.stop()


def _table(title: str, runs: list[Figures]) -> None:
    _say(f"\n{title}")
    for name in runs[0]:
        values = sorted(run[name] for run in runs)
        _say(f"  {name:<44} {statistics.median(values):>10,.2f}   ({values[0]:,.2f} to {values[-1]:,.2f})")


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 -- a command's output


if __name__ == "__main__":
    main()
