"""What the headers of a request say about who asks, and from which page (pure). Nothing of it comes from the URL's query."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

from hypercorn.typing import HTTPScope

from web.problems import Problem

COOKIE = "__Host-rowcast"
# RFC 6750 section 2.1
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Credential:
    """The token that came, and whether a browser added it by itself, as it does with cookies."""

    token: str
    by_cookie: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, as far as the gate looks at it. `path` is decoded; absent headers are None."""

    method: str
    path: str
    tls: bool
    host: str | None
    origin: str | None
    fetch_site: str | None
    authorizations: tuple[str, ...]
    cookies: str

    @classmethod
    def of(cls, scope: HTTPScope) -> Asked:
        """What an ASGI server says."""
        values: dict[bytes, list[str]] = {}
        for name, value in scope["headers"]:
            values.setdefault(name.lower(), []).append(value.decode("latin-1"))
        return cls(
            method=scope["method"],
            path=path_of(scope),
            tls=scope["scheme"] == "https",
            host=_one(values.get(b"host")),
            origin=_one(values.get(b"origin")),
            fetch_site=_one(values.get(b"sec-fetch-site")),
            authorizations=tuple(values.get(b"authorization", ())),
            cookies="; ".join(values.get(b"cookie", ())),  # HTTP/2 may send them one by one: RFC 9113 section 8.2.3
        )

    def credential(self) -> Credential | None:
        """The header wins over the cookie; None if neither came. A Problem for what is no token, and for two of them."""
        if self.authorizations:
            return Credential(_bearer(self.authorizations), by_cookie=False)
        tokens = set(_cookies(self.cookies))
        if not tokens:
            return None
        if len(tokens) > 1:
            raise malformed(f"The request has two cookies {COOKIE}. Send one.")
        return Credential(_checked(tokens.pop()), by_cookie=True)


def path_of(scope: HTTPScope) -> str:
    """The path, decoded, from its slash on; also of a request as proxies get it, with the whole URL. `*` and what is no URL are no path of ours.

    With one slash, however many there are: routes are found without those at the front, and what guards them must see the same.
    """
    path = scope["path"]
    if path.startswith("/"):
        return "/" + path.lstrip("/")
    try:
        return "/" + urlsplit(path).path.lstrip("/")
    except ValueError:
        return "/" + path


def malformed(detail: str) -> Problem:
    """RFC 6750 section 3.1: what came is no token, or more than one."""
    return Problem(HTTPStatus.BAD_REQUEST, detail, WWW_Authenticate='Bearer error="invalid_request"')


def _one(values: list[str] | None) -> str | None:
    """Of several nobody may believe the friendlier one: joined, they are equal to none."""
    return None if values is None else ", ".join(values)


def _bearer(values: tuple[str, ...]) -> str:
    if len(values) > 1:
        raise malformed("The request has two headers Authorization. Send one.")
    scheme, _, token = values[0].strip().partition(" ")
    if scheme.lower() != "bearer":
        raise Problem(
            HTTPStatus.UNAUTHORIZED,
            "This server knows tokens only. Send the header Authorization: Bearer, and the token behind it.",
            WWW_Authenticate="Bearer",
        )
    return _checked(token.strip())


def _checked(token: str) -> str:
    if not _TOKEN.fullmatch(token):
        raise malformed("What came is no token: one has letters, digits and . _ ~ + / - = only.")
    return token


def _cookies(text: str) -> Iterable[str]:
    pairs = (part.strip(" \t").partition("=") for part in text.split(";"))
    return (value for name, _, value in pairs if name == COOKIE)
