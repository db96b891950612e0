"""The last wall before the log: what looks like a secret leaves it as `***` (pure functions).

Nothing of ours logs one. But errors of libraries quote what they were given: an address with its password, a header, and Postgres a whole row.
It rather hides too much: whatever stands between `://user:` and the last `@` of the word, for one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the command line is quick without it
    from structlog.typing import EventDict

HIDDEN = "***"
_PAIR = 2

_NAMES = r"password|passwd|pwd|secret|token|jwt_?key|api_?key|private_?key"
_VALUE = r"""(?:'(?:[^'\\]|\\.)*+'?|"(?:[^"\\]|\\.)*+"?|[^\s,;&'")}\]]++)"""
_PATTERNS = (
    # An address with a password, but not the example of our own sentences
    (re.compile(r"(?<=://)([^\s:/?#@]{0,256}+:)(?!password@host\b)\S{0,2048}@"), rf"\1{HIDDEN}@"),
    # A JSON Web Token (RFC 7519): base64url of `{"`, and parts with dots between
    (re.compile(r"(?<![A-Za-z0-9])eyJ[\w-]*+(?:\.[\w-]*+){1,4}"), HIDDEN),
    (re.compile(r"-----BEGIN [A-Z ]{0,40}KEY-----.*?(?:-----END [A-Z ]{0,40}KEY-----|\Z)", re.DOTALL), HIDDEN),
    # Headers, as a line or as in a Python dict or list of pairs
    (
        re.compile(
            r"""((?:authorization|cookie)["']?\s{0,8}[:=,]\s{0,8}b?)(?:'[^'\r\n]*+'?|"[^"\r\n]*+"?|[^\s][^\r\n]*+)""",
            re.I,
        ),
        rf"\1{HIDDEN}",
    ),
    (re.compile(r"\b(Bearer|Basic)\s{1,8}[^\s'\",;]++", re.I), rf"\1 {HIDDEN}"),
    # Settings, libpq's strings, query parameters, JSON
    (re.compile(rf"""((?:{_NAMES})["']?\s{{0,8}}[=:]\s{{0,8}}b?){_VALUE}""", re.I), rf"\1{HIDDEN}"),
    # What Postgres adds to an error may be a row: up to the end, or to the next error of a traceback
    (re.compile(r"\n(DETAIL|CONTEXT|QUERY|STATEMENT):  .*?(?=\n\n|\nHINT:  |\Z)", re.DOTALL), rf"\n\1:  {HIDDEN}"),
)
_SECRET_NAME = re.compile(rf"(?:{_NAMES}|authorization|cookie)s?\Z", re.I)


def redacted(text: str) -> str:
    """The text without what looks like a secret."""
    for pattern, instead in _PATTERNS:
        text = pattern.sub(instead, text)
    return text


def redact(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """structlog's processor: every value of the event, how deep ever it lies."""
    return {name: value if name.startswith("_") else _of_field(name, value) for name, value in event.items()}


def _of_field(name: object, value: Any) -> Any:
    spelled = name.decode("latin-1") if isinstance(name, bytes) else name
    if value and isinstance(spelled, str) and _SECRET_NAME.search(spelled):
        return HIDDEN
    return _of_value(value)


def _of_value(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, Mapping):
        return {redacted(str(name)): _of_field(name, inner) for name, inner in value.items()}
    if isinstance(value, tuple) and len(value) == _PAIR:  # a header, as ASGI has it
        return [_of_value(value[0]), _of_field(value[0], value[1])]
    if isinstance(value, list | tuple | set | frozenset):
        return [_of_value(inner) for inner in value]
    return redacted(repr(value))
