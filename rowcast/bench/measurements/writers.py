"""Writers: what the trigger and the relaying cost those who insert, against no trigger at all and against a plain NOTIFY.

The tables that are compared have the same columns and indexes; the plain one has a trigger that NOTIFYs the row, and the bare endpoint
listens to it, as somebody must. The load's own limit is what it commits with no trigger.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace

from rowcast.bench.figures import TIMES, Outcome, at_least, at_most
from rowcast.bench.load.crowd import crowd
from rowcast.bench.load.sessions import Committed
from rowcast.bench.load.writer import Work, writers
from rowcast.bench.measurements.marker import to_everyone, wait_until_stamped
from rowcast.bench.measurements.rivals import have_pg_sse
from rowcast.bench.parts import Part
from rowcast.bench.reckoning import NS, due_times, median, milliseconds, ratios
from rowcast.bench.site import Site, Yard
from rowcast.bench.sizes import Sizes

_PROCESSES = 2
_USERS = range(1, 101)
_PACE = 100
_NOBODYS = 1_000_000  # gets nothing but what is for everyone
_NONE, _PLAIN, _OURS, _OFF, _PG_SSE = "no trigger", "plain NOTIFY", "Rowcast", "Rowcast, mode off", "pg-sse"
_INSERTS = {_NONE: "bench_insert_bare", _PLAIN: "bench_insert_plain", _OURS: "bench_insert"}


def measure(site: Site, sizes: Sizes, rounds: int) -> Outcome:
    """Many writers, then one; the kinds turn about within each round."""
    found = Outcome("writers", f"{sizes.writers} clients and one, one row a commit, a bridge and a web process running")
    with site.yard() as yard, yard.running() as (_, web), yard.rival("bare", "listen"):
        _many(found, yard, web, sizes, rounds)
    # In a database of its own: what many rows leave to be vacuumed would be in the way.
    with site.yard() as yard, yard.running():
        _single(found, yard, sizes, rounds)
    return found


def _many(found: Outcome, yard: Yard, web: Part, sizes: Sizes, rounds: int) -> None:
    drained = []
    each = max(1, sizes.writers // _PROCESSES)
    work = Work(yard.database_url, each, _USERS, seconds=sizes.writer_seconds)
    with contextlib.ExitStack() as stack:
        inserts = _inserts(stack, found, yard)
        sql, streams = stack.enter_context(yard.sql()), stack.enter_context(crowd(web, processes=1))
        clients = stack.enter_context(writers(*[work] * _PROCESSES))
        streams.open([f"/events/{_NOBODYS}?since=now"])
        rates: dict[str, list[float]] = {name: [] for name in inserts}
        for number in range(rounds):
            for name, insert in inserts.items():
                done = clients.write(insert)
                rates[name].append(_rate(done))
                if name == _OURS:
                    to_everyone(sql)
                    came = streams.reach(each=number + 1).last_event
                    drained.append((came - max(ended for _, _, ended in done)) / NS)
    for name, values in rates.items():
        found.add(f"{sizes.writers} clients, {name}", "rows/s", values)
    found.add("Rowcast : no trigger", TIMES, ratios(rates[_OURS], rates[_NONE]), at_least(0.60))
    found.add("Rowcast : plain NOTIFY", TIMES, ratios(rates[_OURS], rates[_PLAIN]), at_least(2.0))
    found.add("from the last commit until all was relayed", "s", drained, at_most(1.0))


def _inserts(stack: contextlib.ExitStack, found: Outcome, yard: Yard) -> dict[str, str]:
    if not have_pg_sse(found):
        return _INSERTS
    stack.enter_context(yard.rival("pg_sse"))
    return _INSERTS | {_PG_SSE: "bench_insert_pg_sse"}


def _rate(done: list[Committed]) -> float:
    first, last = min(sent for _, sent, _ in done), max(ended for _, _, ended in done)
    return len(done) * NS / (last - first)


def _single(found: Outcome, yard: Yard, sizes: Sizes, rounds: int) -> None:
    """As fast as it can, so that relaying has to share the cores with it; and at a pace, when each row may find the bridge asleep."""
    work = Work(yard.database_url, 1, _USERS, seconds=sizes.single_seconds)
    due = due_times(0, _PACE, round(_PACE * sizes.single_seconds))
    for who, how in (("one client flat out", work), (f"one client at {_PACE} rows/s", replace(work, due=due))):
        _one_client(found, yard, who, how, rounds=rounds, turns=sizes.single_turns)


def _one_client(found: Outcome, yard: Yard, who: str, work: Work, *, rounds: int, turns: int) -> None:
    """In short turns, so that what slows the disk for a moment slows all kinds."""
    kinds = {_NONE: "bench_insert_bare", _OURS: "bench_insert", _OFF: "bench_insert"}
    commits: dict[str, list[float]] = {name: [] for name in kinds}
    with yard.sql() as sql, writers(work) as one, writers(replace(work, before=("bench_silent",))) as silent:
        for _ in range(rounds):
            took: dict[str, list[float]] = {name: [] for name in kinds}
            for _ in range(turns):
                for name, insert in kinds.items():
                    done = (silent if name == _OFF else one).write(insert)
                    took[name] += milliseconds((sent, ended) for _, sent, ended in done)
                    wait_until_stamped(sql)
            for name, values in took.items():
                commits[name].append(median(values))
    for name, values in commits.items():
        found.add(f"{who}: a commit, {name}", "ms", values)
    found.add(f"{who}: a commit, Rowcast : no trigger", TIMES, ratios(commits[_OURS], commits[_NONE]), at_most(1.10))
    found.add(f"{who}: a commit, mode off : no trigger", TIMES, ratios(commits[_OFF], commits[_NONE]), at_most(1.03))
