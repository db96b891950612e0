"""What comes in by the URL, checked: each function returns a good value or raises a Problem that names the parameter."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from quart import Request, request
from werkzeug.datastructures import MultiDict

from web.problems import bad_request

_INT64 = range(-(2**63), 2**63)


def refuse_broken_url() -> None:
    """Before each request of a blueprint that reads its URL."""
    require_readable(raw_path(request), request.query_string)


def require_readable(*parts: bytes) -> None:
    """Parts of a URL as they were sent: no bytes that aren't UTF-8 (servers decode them to U+FFFD), no NUL; a 400 for others."""
    for raw in parts:
        decoded = decoded_text(raw)
        if "\x00" in decoded:
            raise bad_request("The URL has a NUL (%00), which Postgres text can't hold. Leave it out.")


def raw_path(incoming: Request) -> bytes:
    """The path as it was sent, still percent-encoded, without the query."""
    raw: bytes = incoming.scope.get("raw_path") or incoming.path.encode()
    return raw.partition(b"?")[0]


def decoded_text(raw: bytes) -> str:
    """Percent-decoded UTF-8; a 400 for anything else."""
    try:
        return unquote_to_bytes(raw).decode("utf-8")
    except UnicodeDecodeError:
        raise bad_request(
            "The URL is not percent-encoded UTF-8. Encode each part as encodeURIComponent does."
        ) from None


def integer(text: str, *, name: str) -> int:
    """A whole number of 64 bits."""
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= len(str(_INT64.stop)) and int(text) in _INT64):
        raise bad_request(f"{name} must be a whole number of 64 bits, not {text[:80]!r}.")
    return int(text)


def optional_integer(args: MultiDict[str, str], name: str) -> int | None:
    """The query parameter as a whole number of 64 bits, None if it is absent."""
    text = args.get(name)
    return None if text is None else integer(text, name=f"The query parameter {name!r}")


def flag(args: MultiDict[str, str], name: str) -> bool:
    """The query parameter as true or false; absent is false."""
    text = args.get(name, "false")
    if text not in ("true", "false"):
        raise bad_request(f"The query parameter {name!r} must be true or false, not {text[:80]!r}.")
    return text == "true"
