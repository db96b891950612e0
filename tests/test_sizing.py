"""docs/scaling.md: its tables follow from its inputs, and what it says of sessions with Postgres is so."""

from __future__ import annotations

import re

import pytest

from tests.sizing import PAGE, SIZES, computed, inputs, sequencer, size


def test_the_tables_follow_from_the_inputs() -> None:
    page = PAGE.read_text()
    assert page == computed(page), "run: python -m tests.sizing"


def test_every_input_says_where_it_comes_from() -> None:
    for line in PAGE.read_text().splitlines():
        if re.match(r"\| `\w+` \|", line):
            assert line.rstrip("| ").rpartition("|")[2].strip(), line


@pytest.mark.parametrize("users", SIZES)
def test_nothing_is_used_beyond_what_it_can_carry(users: int) -> None:
    given = inputs(PAGE.read_text())
    needed = size(users, given)
    used = given["used"] / 100
    assert needed.rows / needed.logs <= min(sequencer(given).values()) * used
    assert needed.cores <= needed.web * used
    assert users / needed.web <= given["streams"]
