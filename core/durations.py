"""Lengths of time as people write them: 30d, 12h, 90m."""

from __future__ import annotations

import re

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_FORM = re.compile(r"([0-9]{1,9})([smhdw])", re.ASCII)
LONGEST = 100 * 366 * 86400


def parse_duration(text: str) -> int:
    """Seconds; raises ValueError with what may be written. Nothing, and more than a hundred years, are no lengths of time."""
    found = _FORM.fullmatch(text.strip().lower())
    seconds = int(found[1]) * _UNITS[found[2]] if found else 0
    if not 0 < seconds <= LONGEST:
        raise ValueError(
            "write a whole number and a unit, s, m, h, d or w, as in 30d, 12h or 90m, up to a hundred years"
        )
    return seconds
