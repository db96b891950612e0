"""Latency: from before an INSERT's COMMIT is sent to its event at the client, rows at a settled pace, with many streams open.

Beside it the plain way: a trigger that NOTIFYs the row to a bare endpoint which LISTENs. Both get the same rows at the same times, one
after the other within a round.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass

from rowcast.bench.figures import Line, Outcome, Plot, at_most
from rowcast.bench.load.crowd import Crowd, crowd
from rowcast.bench.load.writer import Work, writers
from rowcast.bench.measurements.rivals import have_pg_sse, stream_paths
from rowcast.bench.reckoning import NS, curve, differences, due_times, milliseconds, percentile
from rowcast.bench.site import Site, Yard
from rowcast.bench.sizes import Sizes

_SESSIONS = 8
# From being told to begin to the first row that is due.
_RUN_UP = NS // 10
_WITHIN = 30.0


@dataclass(slots=True)
class Side:
    """One way from a table to its streams, of users 1 to `count`."""

    yard: Yard
    streams: Crowd
    count: int
    insert: str
    had: int = 0

    def rows(self, rate: float, seconds: float) -> list[float]:
        """Milliseconds that each row took from when it was due; each goes to another stream."""
        due = due_times(0, rate, max(2, round(rate * seconds)))
        users = [1 + 7 * number % self.count for number in range(len(due))]
        with writers(Work(self.yard.database_url, _SESSIONS, users, due)) as writing:
            writing.go(time.monotonic_ns() + _RUN_UP, self.insert)
            writing.commits(seconds + _WITHIN)
            self.had += len(due)
            self.streams.reach_in_all(self.had, within=_WITHIN)
        return milliseconds(self.streams.arrivals())


def measure(site: Site, sizes: Sizes, rounds: int) -> Outcome:
    """Rowcast and the plain way, turn about; then once at other paces, for the plot."""
    rate, seconds = sizes.latency_rate, sizes.latency_seconds
    found = Outcome("latency", f"INSERT to client, {rate:.0f} rows/s one a commit, {sizes.streams} streams open")
    with contextlib.ExitStack() as stack:
        yard = stack.enter_context(site.yard())
        sides = _sides(stack, yard, sizes.streams, found)
        took: dict[str, list[list[float]]] = {name: [] for name in sides}
        for side in sides.values():
            side.rows(rate, seconds / 5)  # past what is done only once
        for _ in range(rounds):
            for name, side in sides.items():
                took[name].append(side.rows(rate, seconds))
        found.plots += [_distribution(took), _against_rate(sides, sizes, took)]
    _note(found, took)
    return found


def _sides(stack: contextlib.ExitStack, yard: Yard, count: int, found: Outcome) -> dict[str, Side]:
    _, web = stack.enter_context(yard.running())
    plain = stack.enter_context(yard.rival("bare", "listen"))
    sides = {
        "Rowcast": Side(yard, stack.enter_context(crowd(web)), count, "bench_insert"),
        "plain NOTIFY": Side(yard, stack.enter_context(crowd(plain)), count, "bench_insert_plain"),
    }
    if have_pg_sse(found):
        part = stack.enter_context(yard.rival("pg_sse"))
        sides["pg-sse"] = Side(yard, stack.enter_context(crowd(part)), count, "bench_insert_pg_sse")
    for side in sides.values():
        side.streams.open(stream_paths(count), stamped=True)
    return sides


def _note(found: Outcome, took: dict[str, list[list[float]]]) -> None:
    shares = {"p50": 0.5, "p99": 0.99, "slowest": 1.0}
    values = {
        (name, title): [percentile(one, share) for one in all_]
        for name, all_ in took.items()
        for title, share in shares.items()
    }
    for (name, title), each in values.items():
        found.add(f"{title}, {name}", "ms", each)
    for title, goal in (("p50", at_most(3.0)), ("p99", at_most(15.0))):
        above = differences(values["Rowcast", title], values["plain NOTIFY", title])
        found.add(f"{title}, above plain NOTIFY", "ms", above, goal)


def _distribution(took: dict[str, list[list[float]]]) -> Plot:
    lines = [Line(name, curve([one for each in all_ for one in each])) for name, all_ in took.items()]
    return Plot("Latency distribution", "share of rows that took longer", "ms from INSERT to client", lines, True, True)


def _against_rate(sides: dict[str, Side], sizes: Sizes, took: dict[str, list[list[float]]]) -> Plot:
    """Latency against rows a second, once each."""
    lines = []
    for name, side in sides.items():
        runs = {rate: side.rows(rate, min(2.0, sizes.latency_seconds)) for rate in sizes.latency_rates}
        runs[sizes.latency_rate] = [one for each in took[name] for one in each]
        for title, share in (("p50", 0.5), ("p99", 0.99)):
            points = [(rate, percentile(runs[rate], share)) for rate in sorted(runs)]
            lines.append(Line(f"{title}, {name}", points, dashed=title == "p50"))
    return Plot(
        "Latency against rows a second (dashed: p50)", "rows a second", "ms from INSERT to client", lines, True, True
    )
