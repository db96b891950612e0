"""Each check of the chaos rig finds what it is for, and finds nothing in a run that was as promised."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.chaos import bounds, checks, healing, verdict
from tests.chaos.clients import got
from tests.chaos.evidence import Evidence, Violation, gather
from tests.chaos.records import (
    Client,
    Failure,
    Got,
    Hold,
    Line,
    Notebook,
    Outcome,
    Probe,
    Row,
    Sample,
    Statement,
    Timing,
    Turn,
    Window,
    content_of,
)
from tests.chaos.run import Books
from tests.event_source import Dispatched

WEB = "http://one"


def statement(
    key: str, began: float, *, user: int | None = 1, took: float = 0.1, outcome: Outcome = "committed"
) -> Statement:
    return Statement("w0", "alone", began, began + took, outcome, [(key, user)])


def row(key: str, seq: int | None, *, user: int | None = 1, viewed: bool = False) -> Row:
    return Row(seq or 0, key, user, seq, viewed, f"says {key}")


def message(key: str, seq: int, at: float, *, user: int | None = 1) -> Got:
    return Got(at, "message", seq, key, user, f"says {key}")


def good() -> Evidence:
    """Rows a, b, c at 1, 2, 3 s; two clients, one of them from the middle on; nothing wrong."""
    first = Client("c1", 1, "all")
    first.story = [
        Turn(0, "opened", WEB),
        Got(0.1, "hello", 10),
        *(message(key, seq, seq - 9.8) for key, seq in (("a", 11), ("b", 12), ("c", 13))),
    ]
    second = Client("c2", 1, "now")
    second.story = [Turn(1.5, "opened", WEB), Got(1.6, "hello", 11), message("b", 12, 2.2), message("c", 13, 3.2)]
    return Evidence(
        statements=[statement("a", 1), statement("b", 2), statement("c", 3)],
        rows=[row("a", 11), row("b", 12), row("c", 13)],
        clients=[first, second],
        commits={"a": 1, "b": 2, "c": 3},
    )


def every_check(evidence: Evidence) -> list[Violation]:
    found = [one for check in checks.DELIVERY for one in check(evidence)]
    return found + healing.alive(evidence) + bounds.writers_unharmed(evidence) + healing.readiness_is_true(evidence)


def test_a_run_as_promised_has_no_violation() -> None:
    assert every_check(good()) == []


Spoiling = Callable[[Evidence], Any]


def without(index: int) -> Spoiling:
    return lambda evidence: evidence.clients[0].story.pop(index)


def added(*events: Got | Turn, client: int = 0) -> Spoiling:
    return lambda evidence: evidence.clients[client].story.extend(events)


def swapped(evidence: Evidence) -> None:
    """b is stamped before a, for everybody alike."""
    evidence.rows[0], evidence.rows[1] = replace(evidence.rows[0], seq=12), replace(evidence.rows[1], seq=11)
    evidence.clients[0].story[2:4] = [message("b", 11, 1.2), message("a", 12, 1.3)]
    evidence.clients[1].story[1:3] = [Got(1.6, "hello", 12)]


@pytest.mark.parametrize(
    ("check", "spoil"),
    [
        (checks.no_loss, without(2)),
        (checks.no_loss, without(-1)),
        (checks.no_loss, lambda evidence: evidence.rows.append(row("d", None))),
        (checks.no_loss, lambda evidence: evidence.rows.append(row("d", 14, user=None))),
        (checks.no_duplicate, added(message("c", 13, 3.3))),
        (checks.no_duplicate, added(message("c", 14, 3.3))),
        (checks.no_duplicate, added(message("z", 5, 3.3))),
        (checks.no_duplicate, added(Got(3.3, "hello", 5))),
        (checks.commit_order, swapped),
        (checks.one_order, added(message("c", 14, 3.3))),
        (checks.isolation, added(message("x", 15, 4, user=2))),
        (checks.isolation, added(Turn(4, "leaked", detail="a secret"))),
        (checks.no_phantom, added(message("never", 15, 4))),
        (checks.no_phantom, added(replace(message("c", 13, 4), content="says d"))),
        (checks.honest_gap, added(Got(4, "reset", 13, reason="future"))),
        (checks.log_is_true, lambda evidence: evidence.rows.pop()),
        (checks.log_is_true, lambda evidence: evidence.rows.append(row("nobody's", 20))),
        (checks.log_is_true, lambda evidence: evidence.statements.append(statement("c", 3, outcome="rolled back"))),
        (checks.log_is_true, lambda evidence: evidence.commits.pop("b")),
        (checks.log_is_true, lambda evidence: evidence.commits.update(a=3, c=1)),
        (
            bounds.writers_unharmed,
            lambda evidence: evidence.failures.append(Failure(5, 5, "w1", "alone", True, "away")),
        ),
        (
            bounds.writers_unharmed,
            lambda evidence: evidence.failures.append(Failure(5, 5, "w1", "alone", False, "odd")),
        ),
        (healing.alive, lambda evidence: evidence.clients.append(Client("c3", 1, "now"))),
    ],
)
def test_each_check_finds_what_it_is_for(check: Callable[[Evidence], list[Violation]], spoil: Spoiling) -> None:
    evidence = good()
    spoil(evidence)
    assert check(evidence)


def test_a_row_that_is_late_without_excuse_is_found() -> None:
    evidence = good()
    evidence.clients[0].story[-1] = message("c", 13, 14.2)
    assert healing.alive(evidence)
    evidence.windows.append(Window("some fault", 2, 5, 5))
    assert not healing.alive(evidence)
    assert healing.heals(evidence) == {"some fault": pytest.approx(9.2)}
    evidence.windows[0] = Window("some fault", 2, 4, 4)
    assert healing.alive(evidence)


@pytest.mark.parametrize(
    "excuse",
    [
        lambda evidence: evidence.holds.append(Hold(2.9, 8)),
        lambda evidence: evidence.windows.extend([Window("one", 1, 3, 3), Window("the next", 9, 12, 12)]),
        lambda evidence: evidence.clients[0].story[-1:-1].extend([Turn(2.5, "left"), Got(14, "hello", 12)]),
    ],
)
def test_locks_faults_one_after_another_and_absence_excuse_lateness(excuse: Spoiling) -> None:
    evidence = good()
    evidence.clients[0].story[-1:] = [message("c", 13, 14.2)]
    excuse(evidence)
    if not evidence.holds and not evidence.windows:
        evidence.clients[0].story[-1:-1] = [Turn(2.5, "left"), Got(14, "hello", 12)]
    assert not healing.alive(evidence)


def test_a_web_process_that_says_it_is_ready_and_delivers_late_is_found() -> None:
    evidence = good()
    evidence.clients[0].story[-1:] = [message("c", 13, 12), Turn(20, "ended", WEB)]
    evidence.probes = [Probe(second, WEB, 200, 200) for second in range(20)]
    assert healing.readiness_is_true(evidence)
    evidence.probes[5] = Probe(5, WEB, 503, 200)
    assert not healing.readiness_is_true(evidence)


def test_a_web_process_that_says_it_is_ready_while_it_reaches_nothing_is_found() -> None:
    evidence = good()
    evidence.windows = [Window("isolate", 2, 2, 14, dark=(WEB,))]
    evidence.probes = [Probe(second, WEB, 200 if second < 7 else 503, 200) for second in range(20)]
    assert not healing.unready_in_the_dark(evidence)
    evidence.probes[8] = Probe(8, WEB, 200, 200)
    assert healing.unready_in_the_dark(evidence)


def test_a_process_that_can_answer_and_does_not_is_found() -> None:
    evidence = good()
    evidence.probes = [Probe(1, WEB, 200, 200), Probe(2, WEB, 503, None)]
    assert healing.healthy(evidence, {WEB: [(0, 5)]})
    assert not healing.healthy(evidence, {WEB: [(0, 4)]})


def test_writers_may_fail_only_while_postgres_itself_is_away() -> None:
    evidence = good()
    evidence.failures = [Failure(5, 5, "w1", "alone", True, "away")]
    evidence.windows = [Window("a fault of Redis", 4, 6, 6)]
    assert bounds.writers_unharmed(evidence)
    evidence.windows = [Window("a fault of Postgres", 4, 6, 6, postgres=True)]
    assert not bounds.writers_unharmed(evidence)


def test_inserts_that_wait_for_a_fault_are_found() -> None:
    evidence = good()
    evidence.timings = [Timing(number, 0.01) for number in range(100)]
    evidence.windows = [Window("a fault of Redis", 200, 300, 300)]
    evidence.timings += [Timing(200 + number, 0.02) for number in range(90)]
    assert not bounds.writers_unharmed(evidence)
    evidence.timings += [Timing(290 + number / 10, 1.0) for number in range(10)]
    assert bounds.writers_unharmed(evidence)


def test_what_was_taken_and_not_given_back_is_found() -> None:
    before = {"web descriptors": 20, "web tasks": 12, "web memory": 100e6, "subscriptions": 4}
    now = {"web descriptors": 24, "web tasks": 14, "web memory": 160e6, "subscriptions": 4, "web doubles": 7}
    assert not bounds.given_back(before, now)
    for name, value in {"web descriptors": 40, "web tasks": 21, "web memory": 300e6, "subscriptions": 5}.items():
        assert bounds.given_back(before, before | {name: value})


def test_the_bridge_that_leads_in_the_end_may_be_another_one() -> None:
    before = {"bridge0 tasks": 20, "bridge1 tasks": 11}
    assert not bounds.given_back(before, {"bridge0 tasks": 11, "bridge1 tasks": 20})
    assert bounds.given_back(before, {"bridge0 tasks": 11, "bridge1 tasks": 29})


def test_doubles_are_summed_over_the_processes_of_a_place() -> None:
    samples = [Sample(at, {"web0 doubles": count, "web1 doubles": 1}) for at, count in enumerate([0, 3, 5, 1, 1, 4])]
    assert dict(verdict.held(Books(Path()), Evidence(samples=samples)))["doubles dropped by web processes"] == "10"


def test_only_a_lost_tail_allows_what_it_causes() -> None:
    """Row b was delivered and lost; c lost its stamp and came again; the client was told that its position is gone."""
    evidence = good()
    evidence.rows = [row("a", 11), row("c", 1_000_001)]
    evidence.clients = evidence.clients[:1]
    evidence.clients[0].story += [Got(6, "reset", 1_000_000, reason="future"), message("c", 1_000_001, 7)]
    evidence.commits = {"a": 1, "b": 2}
    wanted = (checks.log_is_true, checks.no_duplicate, checks.one_order, checks.no_phantom, checks.honest_gap)
    assert all(check(evidence) for check in wanted)
    evidence = replace(evidence, windows=[Window("failover", 4, 5, 5, postgres=True, forgets=True)])
    assert [one for check in checks.DELIVERY for one in check(evidence)] == []


@pytest.mark.parametrize(("began", "fine"), [(1.0, False), (4.5, True), (5.5, False)])
def test_a_commit_nobody_heard_of_may_be_lost_while_a_tail_is_and_at_no_other_time(began: float, fine: bool) -> None:
    """Delivered, then gone: only the server that was left behind could have told that it was committed."""
    evidence = good()
    evidence.statements.append(statement("d", began, outcome="unknown"))
    evidence.clients[0].story.append(message("d", 20, began + 0.2))
    evidence.windows = [
        Window("failover", 4, 5, 6, postgres=True, forgets=True),
        Window("failover", 8, 9, 10, postgres=True, forgets=True),
    ]
    assert (checks.no_phantom(evidence) == []) is fine


def test_records_come_back_from_their_file_as_they_were(tmp_path: Path) -> None:
    before = good()
    path = tmp_path / "book.jsonl"
    others: list[Line] = [Timing(1, 2), Hold(1, 2), Window("w", 1, 2, 2), Probe(1, WEB, None, 200)]
    with Notebook(path) as book:
        for line in [*before.statements, *before.rows, *others]:
            book.note(line)
        for client in before.clients:
            for one in client.story:
                book.note(one, client=client.name, of=client.user, since=client.since, canary=client.canary)
    after = gather([path])
    assert (after.statements, after.rows, after.clients) == (before.statements, before.rows, before.clients)
    assert len(after.timings) == len(after.holds) == len(after.windows) == len(after.probes) == 1


def test_an_event_is_noted_by_what_its_row_says() -> None:
    said = {
        "id": 7,
        "user_id": 1,
        "key": "k",
        "message": "é\n",
        "channel_type": "c",
        "data": {"a": 1},
        "timestamp": "…",
    }
    noted = got(Dispatched("message", json.dumps(said), "12"))
    assert (noted.seq, noted.key, noted.user) == (12, "k", 1)
    assert noted.content == content_of([7, 1, "k", "é\n", "c", {"a": 1}])
    assert got(Dispatched("message", "no JSON", "12")).content != noted.content
    assert got(Dispatched("message", "{}", "")).seq == -1
