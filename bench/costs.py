"""What a fault cost writers and readers, from what writers and clients wrote down. Pure functions; times in seconds.

*Without* the fault are the inserts that were due in the quiet stretch before it, *with* it those due from its beginning until it had healed.

A fault has *healed* once no row is on its way for longer than `LATE` any more. It heals in the time from its end (everything has been put
right; a process that was killed has been started, though it is not ready) to the arrival, at the last of its clients, of the last row that
came later than that after its commit, or of the first row committed after the end, whichever comes last. Looked at are all rows that had
the time to come before the next fault.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from tests.chaos.bounds import quantile
from tests.chaos.records import Failure, Got, Statement, Timing, read

LATE = 1.0
# When a row was committed, and when the last of its clients had it: never is infinity.
Way: TypeAlias = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Round:
    """One fault: the quiet stretch from `quiet` to `began`, the fault until `ended`; by `ready` all processes said that they are ready."""

    fault: str
    quiet: float
    began: float
    ended: float
    ready: float


@dataclass(frozen=True, slots=True)
class Records:
    """What writers and clients wrote down."""

    timings: list[Timing]
    failures: list[Failure]
    ways: list[Way]


@dataclass(frozen=True, slots=True)
class Latency:
    """Of the inserts of one stretch."""

    p50: float
    p99: float
    slowest: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Latency:
        return cls(quantile(seconds, 0.5), quantile(seconds, 0.99), max(seconds, default=0.0))


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one round. `heals`: see above; `latest`: the longest that a row committed in the fault was on its way to the last of its clients."""

    without: Latency
    during: Latency
    failed: int
    heals: float
    latest: float

    @property
    def ratio(self) -> float:
        return self.during.p99 / self.without.p99 if self.without.p99 else math.nan


def records(writers: Path, clients: Path, owed: Mapping[int, int]) -> Records:
    """From their books; `owed`: how many clients each user has."""
    timings: list[Timing] = []
    failures: list[Failure] = []
    inserts: list[Statement] = []
    for line, _ in read(writers):
        match line:
            case Timing():
                timings.append(line)
            case Failure():
                failures.append(line)
            case Statement():
                inserts.append(line)
    came: dict[str, dict[str, float]] = {}
    for line, more in read(clients):
        if isinstance(line, Got) and line.kind == "message":
            came.setdefault(line.key, {}).setdefault(more["client"], line.at)
    return Records(timings, failures, ways(inserts, came, owed))


def ways(inserts: Iterable[Statement], came: Mapping[str, Mapping[str, float]], owed: Mapping[int, int]) -> list[Way]:
    """For each row its way, by when it came to each client."""
    found = []
    for insert in inserts:
        for key, user in insert.rows:
            arrivals = came.get(key, {})
            whole = user is not None and len(arrivals) == owed[user]
            found.append((insert.ended, max(arrivals.values(), default=math.inf) if whole else math.inf))
    return found


def healed(end: float, following: float, known: Sequence[Way]) -> float:
    """When a fault that ended at `end` had healed, if the next one begins at `following`; see above."""
    seen = [way for way in known if way[0] < following - LATE]
    late = [came for committed, came in seen if came > max(end, committed + LATE)]
    _, first = min((way for way in seen if end <= way[0]), default=(end, math.inf))
    return max(first, *late) if late else first


def costs(rounds: Sequence[Round], known: Records, end: float) -> list[Cost]:
    """Of each round, in the order of time; the last was looked at until `end`. What a fault held up longer is no part of the next quiet stretch."""
    found, calm = [], 0.0
    for one, following in zip(rounds, [*(later.began for later in rounds[1:]), end], strict=True):
        quiet, calm = max(one.quiet, calm), healed(one.ended, following, known.ways)
        over = min(max(one.ready, calm), following)
        found.append(
            Cost(
                Latency.of([each.seconds for each in known.timings if quiet <= each.at < one.began]),
                Latency.of([each.seconds for each in known.timings if one.began <= each.at < over]),
                sum(one.began <= each.at < following for each in known.failures),
                calm - one.ended,
                max((came - at for at, came in known.ways if one.began <= at < one.ended), default=0.0),
            )
        )
    return found


def table(rounds: Sequence[Round], found: Sequence[Cost]) -> list[str]:
    """Of each kind of fault one line of Markdown."""
    by_name: dict[str, list[Cost]] = {}
    for one, cost in zip(rounds, found, strict=True):
        by_name.setdefault(one.fault, []).append(cost)
    heads = ["fault", "p50, ms", "p99, ms", "ratio of p99", "slowest, ms", "failed", "heals in, s", "latest row, s"]
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *(_cells(name, of) for name, of in by_name.items())]
    return [f"| {' | '.join(line)} |" for line in lines]


def _cells(name: str, of: Sequence[Cost]) -> list[str]:
    return [
        name,
        _both([one.without.p50 for one in of], [one.during.p50 for one in of]),
        _both([one.without.p99 for one in of], [one.during.p99 for one in of]),
        _spread([one.ratio for one in of]),
        f"{1000 * max(one.without.slowest for one in of):.0f} → {1000 * max(one.during.slowest for one in of):.0f}",
        str(sum(one.failed for one in of)),
        _spread([one.heals for one in of], 1),
        _spread([one.latest for one in of], 1),
    ]


def _both(without: Sequence[float], during: Sequence[float]) -> str:
    return " → ".join(f"{1000 * statistics.median(side):.1f}" for side in (without, during))


def _spread(values: Sequence[float], digits: int = 2) -> str:
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"
