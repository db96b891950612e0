"""Drain: a great many rows of one statement, from its commit to the last client; and what a row of somebody else waits meanwhile."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

from db.queries import query
from rowcast.bench.figures import Outcome, at_least, at_most
from rowcast.bench.load.crowd import crowd
from rowcast.bench.measurements.marker import many
from rowcast.bench.measurements.rivals import stream_paths
from rowcast.bench.parts import Peak
from rowcast.bench.reckoning import NS, milliseconds, percentile
from rowcast.bench.site import Site, Yard
from rowcast.bench.sizes import Sizes

_MIB = 1 << 20
_OTHERS = range(1_000_001, 1_000_011)
_EVERY = NS // 20
_WITHIN = 180.0


def measure(site: Site, sizes: Sizes, rounds: int) -> Outcome:
    """A database and processes of its own for each round: what a bridge holds counts from its start."""
    found = Outcome("drain", f"{sizes.drain_rows:,} rows of one statement, meanwhile 20 rows/s for others")
    runs = [_round(site, sizes.drain_rows, sizes.drain_streams) for _ in range(rounds)]
    rates, memory, waits = ([run[part] for run in runs] for part in range(3))
    found.add(f"rows to {sizes.drain_streams} clients", "rows/s", rates, at_least(25_000))
    found.add("memory of the bridge", "MiB more", memory, at_most(100))
    found.add("slowest row of others meanwhile", "ms", waits, at_most(250))
    rate, _, wait = _round(site, sizes.drain_rows, sizes.drain_more_streams)
    found.add(f"rows to {sizes.drain_more_streams} clients", "rows/s", [rate])
    found.add(f"slowest row of others meanwhile, {sizes.drain_more_streams} clients", "ms", [wait])
    return found


def _round(site: Site, rows: int, clients: int) -> tuple[float, float, float]:
    """Rows a second from the commit to the last client, MiB that the bridge grew by, ms that the slowest row of others took."""
    with site.yard() as yard, yard.running() as (bridge, web), contextlib.ExitStack() as stack:
        streams, others = stack.enter_context(crowd(web)), stack.enter_context(crowd(web, processes=1))
        streams.open(stream_paths(clients))
        others.open([f"/events/{user}?since=now" for user in _OTHERS], stamped=True)
        sql = stack.enter_context(yard.sql())
        with Peak(bridge) as memory, _others_write(yard) as due:
            many(sql, rows, clients)
            committed = time.monotonic_ns()
            ended = streams.reach_in_all(rows, within=_WITHIN).last_event
        others.reach_in_all(len(due), within=_WITHIN)
        waited = milliseconds(pair for pair in others.arrivals() if committed <= pair[0] <= ended)
    return rows * NS / (ended - committed), memory.grown / _MIB, percentile(waited, 1.0)


@contextlib.contextmanager
def _others_write(yard: Yard) -> Iterator[list[int]]:
    """Rows for other users, twenty a second while the block runs; when each was due."""
    due: list[int] = []
    over = threading.Event()

    def write() -> None:
        with yard.sql() as sql:
            begin = time.monotonic_ns()
            while not over.is_set():
                at = begin + len(due) * _EVERY
                over.wait(max(0, at - time.monotonic_ns()) / NS)
                due.append(at)
                sql.execute(query("bench_one"), {"user": _OTHERS[len(due) % len(_OTHERS)], "message": str(at)})

    thread = threading.Thread(target=write, name="others", daemon=True)
    thread.start()
    try:
        yield due
    finally:
        over.set()
        thread.join()
