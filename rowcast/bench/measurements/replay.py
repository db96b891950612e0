"""Replay: one client reads a long history, from its request to the last row."""

from __future__ import annotations

import time

from rowcast.bench.figures import Outcome, at_least, at_most
from rowcast.bench.load.crowd import crowd
from rowcast.bench.measurements.marker import many, wait_until_stamped
from rowcast.bench.parts import Peak
from rowcast.bench.reckoning import NS
from rowcast.bench.site import Site
from rowcast.bench.sizes import Sizes

_MIB = 1 << 20
_WITHIN = 120.0


def measure(site: Site, sizes: Sizes, rounds: int) -> Outcome:
    """All rows are in the log before the first request."""
    found = Outcome("replay", f"{sizes.replay_rows:,} rows of one user to one client")
    rates, memory = [], []
    with site.yard() as yard, yard.running() as (_, web), yard.sql() as sql, crowd(web, processes=1) as streams:
        many(sql, sizes.replay_rows, 1)
        wait_until_stamped(sql)
        for _ in range(rounds):
            with Peak(web) as peak:
                began = time.monotonic_ns()
                streams.begin(["/events/1?since=all"])
                ended = streams.reach(each=sizes.replay_rows, within=_WITHIN).last_event
            rates.append(sizes.replay_rows * NS / (ended - began))
            memory.append(peak.grown / _MIB)
            streams.cut()
    found.add("rows to one client", "rows/s", rates, at_least(50_000))
    found.add("memory of the web process", "MiB more", memory, at_most(64))
    return found
