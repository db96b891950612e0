"""What figures are made of, as pure functions: percentiles, due times, ratios within a round.

Free of coordinated omission: when each row is to be inserted is settled beforehand and does not depend on how long others took. A
row carries that time in its message, and its time runs from then: never later than its INSERT, and so its COMMIT, was sent. Whatever
holds up the writer counts for every row that was due meanwhile.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence

NS = 1_000_000_000
_NS_PER_MS = 1_000_000


def percentile(values: Iterable[float], share: float) -> float:
    """The least of the values that at least `share` (0 to 1) of them do not exceed: one that was measured, nothing in between."""
    ordered = sorted(values)
    if not ordered:
        return math.nan
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def median(values: Iterable[float]) -> float:
    """The median; not a number if there are none."""
    known = list(values)
    return statistics.median(known) if known else math.nan


def due_times(begin: int, rate: float, rows: int) -> list[int]:
    """When each of `rows` rows is due, evenly `rate` a second from `begin` on (nanoseconds)."""
    return [begin + round(number * NS / rate) for number in range(rows)]


def milliseconds(pairs: Iterable[tuple[int, int]]) -> list[float]:
    """The lengths of (begin, end) in nanoseconds, as milliseconds."""
    return [(end - begin) / _NS_PER_MS for begin, end in pairs]


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Round by round, so that what slowed the machine in one round slowed both sides."""
    return [one / other if other else math.nan for one, other in zip(above, below, strict=True)]


def differences(first: Sequence[float], second: Sequence[float]) -> list[float]:
    """The first less the second, round by round."""
    return [one - other for one, other in zip(first, second, strict=True)]


def curve(values: Iterable[float], points: int = 60) -> list[tuple[float, float]]:
    """(share of the values that took longer, value), from half of them to one in all: a latency distribution to be drawn."""
    ordered = sorted(values)
    if not ordered:
        return []
    last = math.log10(len(ordered))
    first = math.log10(2)
    steps = [first + (last - first) * number / (points - 1) for number in range(points)] if last > first else [0.0]
    return [(10**-step, percentile(ordered, 1 - 10**-step)) for step in steps]
