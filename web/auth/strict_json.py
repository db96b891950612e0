"""The JSON of a token, read so that nobody can see two different things in it (pure)."""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

DEEPEST = 16
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[{]|[]}]', re.DOTALL)


def parse_object(raw: bytes) -> dict[str, Any]:
    """The object that `raw` is; raises ValueError, with a reason, for anything else.

    Refused are a name given twice in an object (RFC 7519 section 4 lets us), numbers that are none (NaN, 1e400), text that is not UTF-8,
    and more than 16 objects and lists in each other.
    """
    text = raw.decode("utf-8")
    _refuse_deep(text)
    value = _DECODER.decode(text)
    if not isinstance(value, dict):
        raise ValueError("it is no JSON object")  # noqa: TRY004 -- one kind of error for all that is wrong with it
    return value


def _refuse_deep(text: str) -> None:
    depth = 0
    for found in _TOKEN.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(found[0], 0)
        if depth > DEEPEST:
            raise ValueError(f"it nests deeper than {DEEPEST} levels")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("an object has one name twice")
    return members


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError("a number is too large")
    return value


_DECODER = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_no_number, parse_float=_finite)
