"""This checkout's code against another revision's, turn about in one run: what a change costs, as ratios.

Both are measured by this checkout's bench, each with servers and a database of its own, so that only the code that runs differs.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

from bench import measures
from bench.measures import Figures
from rowcast.embedded import start_postgres
from tests.db.databases import Databases
from tests.parts import ROOT
from tests.rig import Rig, rig
from tests.servers import embedded_valkey, folder


async def compare(revision: str, rounds: int) -> dict[str, list[tuple[float, float]]]:
    """For each figure a pair (here, there) for each round; who goes first changes from round to round."""
    pairs: dict[str, list[tuple[float, float]]] = {}
    async with AsyncExitStack() as stack:
        other = stack.enter_context(_checkout(revision))
        here, there = [await stack.enter_async_context(_rowcast(root)) for root in (ROOT, other)]
        for number in range(rounds):
            order = (here, there) if number % 2 == 0 else (there, here)
            figures = {id(one): await _measure(*one) for one in order}
            for name, value in figures[id(here)].items():
                pairs.setdefault(name, []).append((value, figures[id(there)][name]))
    return pairs


def table(revision: str, pairs: dict[str, list[tuple[float, float]]]) -> list[str]:
    """Lines: the medians of both, and the median of the rounds' ratios with the lowest and the highest."""
    lines = [f"{'':<44} {'here':>12} {revision[:12]:>12}   ratio"]
    for name, values in pairs.items():
        ratios = sorted(here / there for here, there in values)
        here, there = (statistics.median(side) for side in zip(*values, strict=True))
        lines.append(
            f"{name:<44} {here:>12,.2f} {there:>12,.2f}   "
            f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        )
    return lines


async def _measure(own: Rig, url: str) -> Figures:
    latency = await measures.latency(own, url)
    drain = await measures.drain(own, url)
    commits = await measures.commits(own)
    async with own.sql() as sql:
        await sql.execute("TRUNCATE notifications")
    return {
        "INSERT to client, p50 (ms)": latency["p50 (ms)"],
        "INSERT to client, p99 (ms)": latency["p99 (ms)"],
        "20,000 rows of one statement (rows/s)": drain["rows/s from the commit"],
        "16 clients, one row a commit (rows/s)": commits,
    }


@asynccontextmanager
async def _rowcast(root: Path) -> AsyncIterator[tuple[Rig, str]]:
    with folder() as state, embedded_valkey() as valkey:
        server = await asyncio.to_thread(start_postgres, state)
        try:
            with Databases(server.url).empty() as address:
                async with rig(address, valkey.url, prefix="bench") as own:
                    own.root = root
                    await own.migrate()
                    bridge = await own.bridge()
                    await bridge.logged("term.started")
                    url, _ = await own.web()
                    yield own, url
        finally:
            server.stop()


@contextmanager
def _checkout(revision: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="rowcast-bench-") as parent:
        tree = Path(parent) / "tree"
        git = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", str(tree), revision], check=True)  # noqa: S603 -- our own words
        try:
            yield tree
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=True)  # noqa: S603 -- our own words


def main(revision: str, rounds: int) -> None:
    """Measure and print."""
    sys.stdout.write("\n".join(table(revision, asyncio.run(compare(revision, rounds)))) + "\n")
