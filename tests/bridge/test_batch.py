"""How many rows a claim may stamp: halfway to nothing when claims take too long, back to all when they don't."""

from __future__ import annotations

import pytest

from bridge.batch import SLOW, TOO_SLOW, BatchSize

LONGEST = 10.0  # seconds that a statement may take


def test_claims_that_are_quick_change_nothing() -> None:
    size = BatchSize(1000)
    for rows, seconds in ((1000, 0.1), (0, 0.001), (3, 0.9), (0, 9.0)):
        size.claimed(rows, seconds)
        assert size.rows == 1000


def test_a_slow_claim_makes_the_next_take_about_a_second() -> None:
    size = BatchSize(1000)
    size.claimed(250, 5.0)
    assert size.rows == 50
    size.claimed(50, 1.0)
    assert size.rows == 50


def test_quick_and_full_again_it_grows_to_what_it_was() -> None:
    size = BatchSize(1000)
    size.claimed(100, 50.0)
    assert size.rows == 2
    grown = []
    while size.rows < 1000:
        size.claimed(size.rows, 0.01)
        grown.append(size.rows)
    assert grown == [4, 8, 16, 32, 64, 128, 256, 512, 1000]


def test_a_lost_session_is_no_reason_but_a_claim_that_was_given_up_is() -> None:
    size = BatchSize(1000)
    assert not size.failed(TOO_SLOW - 0.1)
    assert size.rows == 1000
    assert size.failed(LONGEST)
    assert size.rows == 250


@pytest.mark.parametrize("per_row", [0.0001, 0.003, 0.02, 0.5, 9.0])
def test_whatever_a_row_takes_after_a_few_tries_claims_succeed_in_good_time(per_row: float) -> None:
    size, failures = BatchSize(1000), 0
    while size.rows * per_row >= LONGEST:
        assert size.failed(LONGEST)
        failures += 1
    assert failures <= 5
    for _ in range(20):
        took = size.rows * per_row
        assert took < LONGEST
        size.claimed(size.rows, took)
    assert size.rows * per_row < max(2 * SLOW, 2 * per_row)
    assert size.rows == 1000 or size.rows * per_row > SLOW / 4


def test_one_row_is_the_least() -> None:
    size = BatchSize(3)
    assert size.failed(LONGEST)
    assert size.rows == 1
    assert not size.failed(LONGEST)
    size.claimed(1, 100)
    assert size.rows == 1
