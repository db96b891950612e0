"""What users put into rows: texts and data that have broken other people's event streams, and very long ones."""

from __future__ import annotations

import json
from random import Random

SECRET = "for-the-canary-alone"  # in every row of the canary, and in no other
_ODD = [
    "",
    " ",
    "two\nlines",
    "two\r\nlines",
    "a\rcarriage return",
    "\n",
    "\n\ndata: x",
    "id: 9\n\n",
    "x\n\nevent: reset\ndata: {}\nid: 1\n\n",
    ": a comment",
    "retry: 1",
    "\ufeffa mark of byte order",
    "\u2028 and \u2029 and \u0085",
    "\x01\x1b\x7f",
    "żółć 漢字 \U0001f600 \u202e",
    "\\u0000 \\n \\",
    "\"quoted\" 'quoted' <b>&amp;</b>",
    '{"json": true}',
]
_DATA: list[object] = [
    None,
    {},
    [],
    "",
    0,
    -1.5,
    9007199254740993,
    True,
    {"a": {"b": ["c", None, "\n\ndata: y", "\\u0000", "\u2028"]}},
    {"": "\r\n"},
]
_LENGTHS = [7_999, 8_000, 100_000, 1_000_000]


def message(rng: Random) -> str:
    """A text: mostly plain, often odd, seldom long (up to 1 MB)."""
    drawn = rng.random()
    if drawn < 0.004:
        return long(rng)
    if drawn < 0.4:
        return rng.choice(_ODD)
    return f"plain {rng.random()}"


def long(rng: Random) -> str:
    """A text of many bytes, some of them not ASCII."""
    letter = rng.choice("aéx\n")
    return letter * (rng.choice(_LENGTHS) // len(letter.encode()))


def data(rng: Random) -> str | None:
    """JSON for the column `data`; None is SQL's NULL, "null" is JSON's."""
    return None if rng.random() < 0.3 else json.dumps(rng.choice(_DATA), ensure_ascii=rng.random() < 0.5)
