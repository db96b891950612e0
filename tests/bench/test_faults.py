"""What a benchmark of faults tells is reckoned as it says: when rows are due, what belongs to a fault, and when that has healed."""

from __future__ import annotations

import math
from itertools import islice
from pathlib import Path

import pytest

from bench.costs import Cost, Latency, Records, Round, costs, healed, records, table, ways
from bench.faults import Kind, kinds
from bench.steady import due
from tests.chaos.ensemble import Shape
from tests.chaos.faults import FAULTS
from tests.chaos.records import Failure, Got, Notebook, Statement, Timing


def test_rows_are_due_at_an_even_pace_one_session_after_the_other() -> None:
    assert list(islice(due(100.0, 0, 4, 8.0), 3)) == [(0, 100.0), (4, 100.5), (8, 101.0)]
    assert list(islice(due(100.0, 3, 4, 8.0), 3)) == [(3, 100.375), (7, 100.875), (11, 101.375)]


def test_percentiles_are_values_that_were_measured() -> None:
    assert Latency.of([number / 100 for number in range(1, 201)]) == Latency(1.0, 1.98, 2.0)
    assert Latency.of([3.0]) == Latency(3.0, 3.0, 3.0)


def test_a_row_has_come_when_the_last_of_its_clients_has_it() -> None:
    inserts = [_insert(f"row {number}", user, 1.0 + number) for number, user in enumerate([1, 2, 2, 1])]
    came = {"row 0": {"a": 1.5, "b": 1.25}, "row 1": {"c": 2.25}, "row 3": {"a": 4.5}}
    assert ways(inserts, came, {1: 2, 2: 1}) == [(1.0, 1.5), (2.0, 2.25), (3.0, math.inf), (4.0, math.inf)]


def test_a_fault_has_healed_with_the_last_row_that_was_late_or_the_first_after_it() -> None:
    first = (20.25, 20.5)
    assert healed(20.0, 40.0, [(19.5, 20.25), first, (21.0, 21.125)]) == 20.5, "nothing was late"
    assert healed(20.0, 40.0, [(12.0, 23.0), first]) == 23.0, "late, from before its end"
    assert healed(20.0, 40.0, [first, (25.0, 26.5)]) == 26.5, "late, from after its end"
    assert healed(20.0, 40.0, [(12.0, 19.0), first, (22.0, 23.0)]) == 20.5, "late, but before its end; or in time"
    assert healed(20.0, 40.0, [first, (39.5, 45.0)]) == 20.5, "held up by the next fault"
    assert healed(20.0, 40.0, [(20.25, math.inf)]) == math.inf
    assert healed(20.0, 40.0, []) == math.inf, "no row, no proof"


def test_inserts_belong_to_the_stretch_they_were_due_in_and_what_heals_late_is_no_quiet() -> None:
    rounds = [Round("one", 0.0, 10.0, 20.0, 22.0), Round("two", 24.0, 34.0, 44.0, 45.0)]
    timings = [(1.0, 0.5), (9.0, 0.25), (10.0, 2.0), (21.0, 3.0), (23.0, 9.0), (24.5, 8.0), (26.0, 1.0), (44.5, 4.0)]
    known = Records(
        [Timing(*each) for each in timings],
        [_failure(5.0), _failure(15.0), _failure(25.0)],
        [(11.0, 12.5), (18.0, 25.0), (20.5, 20.75), (30.0, 30.5), (35.0, 35.25), (44.0, 44.5)],
    )
    assert costs(rounds, known, 60.0) == [
        Cost(Latency(0.25, 0.5, 0.5), Latency(3.0, 9.0, 9.0), 2, 5.0, 7.0),
        Cost(Latency(1.0, 1.0, 1.0), Latency(4.0, 4.0, 4.0), 0, 0.5, 0.25),
    ]


def test_the_table_has_medians_and_spreads_of_a_kind_and_counts_every_failure() -> None:
    def cost(scale: float, failed: int, heals: float) -> Cost:
        return Cost(Latency(0.001, 0.002, 0.01 * scale), Latency(0.002, 0.002 * scale, 0.1), failed, heals, 3.0)

    rounds = [Round("broken", 0, 0, 0, 0)] * 3 + [Round("other", 0, 0, 0, 0)]
    lines = table(rounds, [cost(1, 0, 0.25), cost(3, 1, 4.0), cost(2, 1, 1.0), cost(1, 0, math.inf)])
    assert lines[2:] == [
        "| broken | 1.0 → 2.0 | 2.0 → 4.0 | 2.00 (1.00 to 3.00) | 30 → 100 | 2 | 1.0 (0.2 to 4.0) | 3.0 (3.0 to 3.0) |",
        "| other | 1.0 → 2.0 | 2.0 → 2.0 | 1.00 (1.00 to 1.00) | 10 → 100 | 0 | inf (inf to inf) | 3.0 (3.0 to 3.0) |",
    ]


def test_books_are_read_as_they_were_written(tmp_path: Path) -> None:
    writers, clients = tmp_path / "writers.jsonl", tmp_path / "clients.jsonl"
    with Notebook(writers) as book:
        for line in (Timing(1.0, 0.5), _insert("row 0", 7, 1.5), _failure(2.0)):
            book.note(line)
    with Notebook(clients) as book:
        book.note(Got(1.0, "hello", 0), client="a")
        for client, at in (("a", 1.75), ("b", 2.0), ("b", 9.0)):  # the first arrival counts
            book.note(Got(at, "message", 1, "row 0", 7), client=client)
    assert records(writers, clients, {7: 2}) == Records([Timing(1.0, 0.5)], [_failure(2.0)], [(1.5, 2.0)])


@pytest.mark.parametrize("kind", kinds(6.0), ids=lambda kind: kind.name)
def test_every_kind_names_faults_and_wires_that_exist_and_spares_postgres_itself(kind: Kind) -> None:
    shape = Shape()
    assert kind.parts
    for name, arguments in kind.parts:
        assert arguments.keys() == FAULTS[name].parameters.keys()
        assert arguments.get("wire", "web0-redis") in shape.wires
        assert name not in {"kill_postgres", "restart_postgres", "freeze_postgres"}


def _insert(key: str, user: int, ended: float) -> Statement:
    return Statement("s0", "steady", ended - 0.5, ended, "committed", [(key, user)])


def _failure(at: float) -> Failure:
    return Failure(at, at + 1.0, "s0", "steady", False, "said no")
