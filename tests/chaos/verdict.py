"""From a run's books to what was broken, and to the figures of its table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise

from tests.chaos import bounds, checks, healing
from tests.chaos.evidence import Evidence, Violation, gather
from tests.chaos.run import Books
from tests.chaos.starvation import NAME


def judged(books: Books) -> tuple[Evidence, list[Violation]]:
    """All evidence, and every promise that was broken."""
    evidence = gather(books.paths)
    evidence.commits, evidence.whole_order = books.commits, books.whole_order
    found = [Violation("rig", text) for text in books.broken]
    found += [one for check in checks.DELIVERY for one in check(evidence)]
    found += healing.alive(evidence)
    found += healing.readiness_is_true(evidence)
    found += healing.unready_in_the_dark(evidence)
    found += healing.healthy(evidence, books.awake)
    found += bounds.writers_unharmed(evidence)
    found += bounds.given_back(books.before, books.after)
    return evidence, found


def figures(evidence: Evidence) -> list[tuple[str, str]]:
    """What is worth telling of a run, as pairs of a name and a value."""
    inside, outside = bounds.in_and_out(evidence, lenient=False)
    committed = [one for one in evidence.statements if one.outcome == "committed"]
    opened = [len(client.turns("opened")) for client in evidence.clients]
    resets = Counter(event.reason for client in evidence.clients for event in client.events("reset"))
    heals = sorted(healing.heals(evidence).items(), key=lambda heal: -heal[1])
    return [
        ("rows in the table", f"{len(evidence.rows):,}"),
        ("transactions committed", f"{len({(one.writer, one.ended) for one in committed}):,}"),
        ("INSERTs rolled back", f"{sum(one.outcome == 'rolled back' for one in evidence.statements):,}"),
        ("INSERTs of unknown end", f"{sum(one.outcome == 'unknown' for one in evidence.statements):,}"),
        ("events delivered", f"{sum(len(client.events('message')) for client in evidence.clients):,}"),
        ("clients", str(len(evidence.clients))),
        ("connections of clients", f"{sum(opened):,}"),
        ("reconnections", f"{sum(max(count - 1, 0) for count in opened):,}"),
        ("resets", ", ".join(f"{count} {reason}" for reason, count in resets.items()) or "0"),
        ("faults", str(sum(window.name != NAME for window in evidence.windows))),
        (
            "seconds without a processor",
            f"{sum(one.end - one.start for one in evidence.windows if one.name == NAME):.0f}",
        ),
        ("slowest heals", ", ".join(f"{seconds:.1f} s {name}" for name, seconds in heals[:4]) or "none"),
        ("insert p50 / p99 outside faults", _quantiles(outside)),
        ("insert p50 / p99 in faults", _quantiles(inside)),
        ("failures while Postgres was away", str(sum(one.postgres for one in evidence.failures))),
    ]


def held(books: Books, evidence: Evidence) -> list[tuple[str, str]]:
    """What was held before, at most on the way, and in the end; of memory, descriptors, tasks and threads the process with the most.

    And how many doubles were dropped, as far as it was noted: what a process dropped in its last seconds is not.
    """
    every = [books.before, *(sample.held for sample in evidence.samples), books.after]
    kinds = (
        "memory",
        "descriptors",
        "tasks",
        "threads",
        "postgres sessions",
        "redis subscriptions",
        "redis clients",
        "notify queue",
    )
    told = [(f"{kind}: before, most, after", _three([_most(one, kind) for one in every])) for kind in kinds]
    return [("doubles dropped by web processes", f"{_doubles(every):,.0f}"), *told]


def _most(sample: Mapping[str, float], kind: str) -> float:
    scale = 2**20 if kind == "memory" else 1
    return max((value / scale for name, value in sample.items() if name.endswith(kind)), default=0.0)


def _doubles(samples: Sequence[Mapping[str, float]]) -> float:
    """The sum of what rose; a process that begins anew counts from nothing."""
    names = {name for sample in samples for name in sample if name.endswith(" doubles")}
    found = 0.0
    for name in names:
        counts = [sample[name] for sample in samples if name in sample]
        found += sum(now - before if now >= before else now for before, now in pairwise([0.0, *counts]))
    return found


def _three(values: Sequence[float]) -> str:
    return f"{values[0]:,.0f}, {max(values):,.0f}, {values[-1]:,.0f}"


def _quantiles(seconds: list[float]) -> str:
    told = " / ".join(f"{1000 * bounds.quantile(seconds, q):.1f}" for q in (0.5, 0.99))
    return f"{told} ms ({len(seconds):,})" if seconds else "none"
