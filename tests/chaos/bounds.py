"""I6 and I7: what faults cost the writers, and whether everything that was taken was given back. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from tests.chaos.evidence import Evidence, Violation, shortened
from tests.chaos.healing import merged
from tests.chaos.records import Failure, Timing
from tests.chaos.starvation import NAME

# After Postgres is back a writer's next try may still meet the old connection.
AFTERMATH = 5.0
# Inserts in faults that are none of Postgres's may be so much slower than outside: a share for a machine that is busy with the fault.
FACTOR, SLACK = 5.0, 0.5
LONGEST = 5.0


def quantile(values: Sequence[float], q: float) -> float:
    """The value that a share `q` of them does not exceed; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(q * len(ordered)) - 1)] if ordered else 0.0


def in_and_out(evidence: Evidence, *, lenient: bool) -> tuple[list[float], list[float]]:
    """Seconds of single inserts during faults, and outside of any; none that Postgres's own faults touched.

    `lenient`: nor any while the machine had no processor free.
    """
    starved = [window for window in evidence.windows if window.name == NAME]
    faults = [window for window in evidence.windows if window.name != NAME]
    excused = [window for window in faults if window.postgres] + (starved if lenient else [])
    own = merged((window.start, window.end + (AFTERMATH if window.postgres else 0)) for window in excused)
    others = merged((window.start, window.end) for window in faults if not window.postgres)
    inside: list[float] = []
    outside: list[float] = []
    for timing in evidence.timings:
        if not _meets(timing, own):
            (inside if _meets(timing, others) else outside).append(timing.seconds)
    return inside, outside


def _meets(timing: Timing, spans: Sequence[tuple[float, float]]) -> bool:
    return any(start <= timing.at + timing.seconds and timing.at <= end for start, end in spans)


def writers_unharmed(evidence: Evidence) -> list[Violation]:
    """I6: no INSERT fails or waits because of bridge, Redis or web."""
    wrong = [f"{one.writer} ({one.kind}): {one.error}" for one in evidence.failures if not _documented(evidence, one)]
    found = [Violation("I6 writers unharmed", shortened(wrong))] if wrong else []
    inside, outside = in_and_out(evidence, lenient=True)
    slow, usual = quantile(inside, 0.99), quantile(outside, 0.99)
    if inside and outside and slow > FACTOR * usual + SLACK:
        found.append(Violation("I6 writers unharmed", f"p99 of inserts {slow:.3f} s in faults, {usual:.3f} s outside"))
    if max(inside, default=0.0) > LONGEST:
        found.append(Violation("I6 writers unharmed", f"an insert took {max(inside):.1f} s in a fault"))
    return found


def _documented(evidence: Evidence, failure: Failure) -> bool:
    """Was Postgres itself away?"""
    return failure.postgres and any(
        window.start <= failure.at and failure.began <= window.end + AFTERMATH
        for window in evidence.windows
        if window.postgres
    )


def given_back(before: Mapping[str, float], after: Mapping[str, float]) -> list[Violation]:
    """I7: figures of memory (bytes, their names end in " memory"), descriptors, tasks, sessions and subscriptions are back where they began."""
    wrong = [
        f"{name}: {_began(name, before):,.0f} before, {value:,.0f} after"
        for name, value in after.items()
        if value > _allowed(name, _began(name, before))
    ]
    return [Violation("I7 bounded", text) for text in wrong]


def _began(name: str, before: Mapping[str, float]) -> float:
    """Any bridge may lead in the end, and who leads has more tasks than who stands by: the figure of the one that had most."""
    if _is_bridges_tasks(name):
        return max((value for other, value in before.items() if _is_bridges_tasks(other)), default=0.0)
    return before.get(name, 0.0)


def _is_bridges_tasks(name: str) -> bool:
    return name.startswith("bridge") and name.endswith(" tasks")


def _allowed(name: str, before: float) -> float:
    if name.endswith(" memory"):
        return before * 1.5 + (64 << 20)
    if name.endswith(" doubles"):
        return math.inf  # nothing that is held
    # Pools and threads are made when first needed and kept: so many at most.
    return before + 8 if name.endswith((" descriptors", " tasks", " threads", " sessions", " clients")) else before
