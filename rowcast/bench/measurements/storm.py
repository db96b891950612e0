"""A storm: all streams are cut at once, each misses something, all come back at once."""

from __future__ import annotations

import contextlib
import time

from rowcast.bench.figures import Outcome, at_most
from rowcast.bench.load.crowd import Crowd, crowd
from rowcast.bench.load.wire import frame
from rowcast.bench.measurements.marker import many, wait_until_stamped
from rowcast.bench.measurements.rivals import have_pg_sse, missed, stream_paths
from rowcast.bench.parts import Peak
from rowcast.bench.reckoning import NS
from rowcast.bench.site import Session, Site, Yard
from rowcast.bench.sizes import Sizes

_MIB = 1 << 20
_WITHIN = 120.0


def measure(site: Site, sizes: Sizes, rounds: int) -> Outcome:
    """Each comes back with its position and has missed one row of its own."""
    found = Outcome("storm", f"{sizes.storm_streams} streams cut at once, each with a row missed, back at once")
    paths = stream_paths(sizes.storm_streams, query="")
    took: dict[str, list[float]] = {"Rowcast": [], "bare ASGI": []}
    grown: list[float] = []
    with site.yard() as yard, yard.running() as (_, web), yard.sql() as sql, contextlib.ExitStack() as stack:
        bare = stack.enter_context(yard.rival("bare"))
        missed(bare.url, frame(1, "row 1", 1))
        ours, theirs = (stack.enter_context(crowd(part)) for part in (web, bare))
        for _ in range(rounds):
            ours.open(paths)
            positions = ours.cut()
            many(sql, sizes.storm_streams, sizes.storm_streams)
            wait_until_stamped(sql)
            with Peak(web) as memory:
                took["Rowcast"].append(_come_back(ours, paths, positions))
            grown.append(memory.grown / _MIB)
            ours.cut()
            took["bare ASGI"].append(_come_back(theirs, paths, positions))
            theirs.cut()
        if have_pg_sse(found):
            took["pg-sse"] = [_pg_sse(stack, yard, sql, paths)]
    found.add("until all had what they missed, Rowcast", "s", took["Rowcast"], at_most(8.0))
    found.add("until all had what they missed, bare ASGI with no history", "s", took["bare ASGI"])
    if "pg-sse" in took:
        found.add("until all had what they missed, pg-sse", "s", took["pg-sse"])
    found.add("memory of the web process meanwhile", "MiB more", grown)
    return found


def _pg_sse(stack: contextlib.ExitStack, yard: Yard, sql: Session, paths: list[str]) -> float:
    """The same, once."""
    streams = stack.enter_context(crowd(stack.enter_context(yard.rival("pg_sse"))))
    many(sql, len(paths), len(paths), insert="bench_many_pg_sse")
    streams.open(paths)
    positions = streams.cut()
    many(sql, len(paths), len(paths), insert="bench_many_pg_sse")
    return _come_back(streams, paths, positions)


def _come_back(streams: Crowd, paths: list[str], positions: list[bytes]) -> float:
    began = time.monotonic_ns()
    streams.begin(paths, positions=positions)
    return (streams.reach(each=1, within=_WITHIN).last_event - began) / NS
