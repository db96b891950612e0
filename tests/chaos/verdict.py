"""From a run's books to what was broken, and to the figures of its table."""

from __future__ import annotations

from collections import Counter

from tests.chaos import bounds, checks, healing
from tests.chaos.evidence import Evidence, Violation, gather
from tests.chaos.run import Books


def judged(books: Books) -> tuple[Evidence, list[Violation]]:
    """All evidence, and every promise that was broken."""
    evidence = gather(books.paths)
    evidence.commits = books.commits
    found = [Violation("rig", text) for text in books.broken]
    found += [one for check in checks.DELIVERY for one in check(evidence)]
    found += healing.alive(evidence)
    found += healing.readiness_is_true(evidence)
    found += bounds.writers_unharmed(evidence)
    found += bounds.given_back(books.before, books.after)
    return evidence, found


def figures(evidence: Evidence) -> list[tuple[str, str]]:
    """What is worth telling of a run, as pairs of a name and a value."""
    inside, outside = bounds.in_and_out(evidence)
    committed = [one for one in evidence.statements if one.outcome == "committed"]
    opened = [len(client.turns("opened")) for client in evidence.clients]
    resets = Counter(event.reason for client in evidence.clients for event in client.events("reset"))
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
        ("faults", str(len(evidence.windows))),
        ("slowest heal", f"{healing.slowest_heal(evidence):.2f} s"),
        ("insert p50 / p99 outside faults", _quantiles(outside)),
        ("insert p50 / p99 in faults", _quantiles(inside)),
        ("failures while Postgres was away", str(sum(one.postgres for one in evidence.failures))),
    ]


def _quantiles(seconds: list[float]) -> str:
    told = " / ".join(f"{1000 * bounds.quantile(seconds, q):.1f}" for q in (0.5, 0.99))
    return f"{told} ms ({len(seconds):,})" if seconds else "none"
