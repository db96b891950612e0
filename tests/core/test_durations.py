"""Lengths of time as people write them."""

from __future__ import annotations

import pytest

from core.durations import parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1),
        ("90m", 5400),
        ("12h", 43200),
        ("30d", 2592000),
        ("2w", 1209600),
        (" 7D ", 604800),
        ("36500d", 3153600000),
    ],
)
def test_a_number_and_a_unit(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "30", "d", "-1d", "0s", "1.5h", "1h30m", "30 days", "1y", "٣d", "36601d", "9" * 30 + "d"]
)
def test_nothing_else(text: str) -> None:
    with pytest.raises(ValueError, match="as in 30d, 12h or 90m"):
        parse_duration(text)
