"""What `send` and `tail` show the web: a token they were given, or one they make with the key of the `up` beside them."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Generator
from dataclasses import dataclass
from http import HTTPStatus

import httpx

from core.clock import SystemClock
from core.errors import ConfigurationError
from rowcast.settings import Settings, spelled
from web.auth.caller import Scope

# RFC 6750 section 2.1.
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*", re.ASCII)
# Seconds that a token of our own holds; each request has one of its own, and a stream comes back with the next.
_TTL = 600.0


@dataclass(frozen=True, slots=True)
class Errand:
    """What a command wants of the web: to act as that user (None: as nobody in particular), with that scope."""

    user: str | None
    scope: Scope

    def advice(self, status: int) -> str:
        """What to do about a web that does not let us; nothing for other answers."""
        if status not in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            return ""
        whose = "USER" if self.user is None else _quoted(self.user)
        return (
            f" `rowcast token {whose} --scope {self.scope}`, where the key of that web is, makes a token that may; "
            f"give it in a file with {spelled('token_file')}."
        )


class Bearer(httpx.Auth):
    """A token on every request, asked for anew each time."""

    def __init__(self, token: Callable[[], str]) -> None:
        self._token = token

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["Authorization"] = f"Bearer {self._token()}"
        yield request


def bearer(settings: Settings, errand: Errand) -> Bearer | None:
    """What to send along: the token of the settings, else one made with their key; None if there is neither."""
    if settings.token:
        _check(settings.token)
        return Bearer(lambda: settings.token)
    return _maker(settings, errand) if settings.jwt_key else None


def _maker(settings: Settings, errand: Errand) -> Bearer | None:
    from rowcast.minting import Order, can_make_tokens, make_token  # noqa: PLC0415 -- what a web without tokens has no use for

    if not can_make_tokens(settings):
        return None
    order, clock = Order(errand.user, frozenset({errand.scope}), _TTL, str(uuid.uuid4())), SystemClock()
    return Bearer(lambda: make_token(settings, order, clock.time()))


def _check(token: str) -> None:
    """Before it becomes a header, which could not hold it; an error would show it."""
    if not _TOKEN.fullmatch(token):
        raise ConfigurationError(f"{spelled('token')} holds no token: there are characters in it that no token has.")


def _quoted(user: str) -> str:
    return user if re.fullmatch(r"\w[\w-]*", user, re.ASCII) else "USER"
