"""A request body that is JSON, checked before anything reads it, so that Python and Postgres can't see two different things in it."""

from __future__ import annotations

import json
import re
from http import HTTPStatus
from typing import Any, NoReturn

from quart import request

from web.problems import Problem, bad_request

DEEPEST = 200
# Postgres writes a number out in full: 1e131071, nine bytes here, takes 131,072 there, in everything that tells of the row.
MOST_ZEROS = 1 << 20

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


async def json_body() -> tuple[Any, str]:
    """The body as Python sees it, and its text; a Problem for a wrong content type, bad JSON, or JSON that Postgres can't hold."""
    if request.mimetype != "application/json":
        raise Problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "Send the body as JSON, with the header Content-Type: application/json.",
            Accept="application/json",
        )
    text = _utf8(await request.get_data())
    try:
        value = json.loads(text, object_pairs_hook=_once, parse_constant=_no_number, parse_float=_Zeros().count)
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:  # of JSON itself, or a number of more than 4,300 digits
        raise bad_request(f"The body is not JSON: {error}.") from None
    _storable(value)
    return value, text


def _utf8(raw: str | bytes) -> str:
    try:
        return raw if isinstance(raw, str) else raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise bad_request(f"The body is not UTF-8 (at byte {error.start}).") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            raise bad_request(f"The body has the name {name[:80]!r} twice in one object.")
        members[name] = value
    return members


class _Zeros:
    """How many digits the exponents of a body stand for."""

    def __init__(self) -> None:
        self._left = MOST_ZEROS

    def count(self, number: str) -> float:
        exponent = number.lower().partition("e")[2]
        self._left -= abs(int(exponent)) if exponent else 0
        if self._left < 0:
            raise bad_request(
                f"The body has numbers whose exponents stand for more than {MOST_ZEROS:,} digits. Make them smaller, or send them as text."
            )
        return float(number)


def _no_number(name: str) -> NoReturn:
    raise bad_request(f"The body is not JSON: {name} is no number there.")


def _too_deep() -> Problem:
    return bad_request(f"The body is nested more than {DEEPEST} levels deep. Flatten it.")


def _storable(value: Any) -> None:
    """Refuse what JSON can say and Postgres can't hold: NUL, half a surrogate pair, nesting without end."""
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > DEEPEST:
            raise _too_deep()
        texts = [item for item in level if isinstance(item, str)]
        objects = [item for item in level if isinstance(item, dict)]
        texts += [name for item in objects for name in item]
        if any(_UNSTORABLE.search(text) for text in texts):
            raise bad_request(
                "The body has a NUL (\\u0000) or half a surrogate pair, which Postgres text can't hold. Leave it out."
            )
        lists = [item for item in level if isinstance(item, list)]
        level = [member for item in lists for member in item]
        level += [member for item in objects for member in item.values()]
