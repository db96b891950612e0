"""The gate before every route and stream: from the headers of a request to a Caller, or a Problem.

Nothing else of the request is looked at before: who may not ask does not learn whether the rest was right, nor whether the path exists.
"""

from __future__ import annotations

import re
from http import HTTPStatus

from hypercorn.typing import HTTPScope

from core.clock import Clock
from web.auth.caller import ANYBODY, NOBODY, Caller, TokenRefusedError, Verifier
from web.auth.headers import Asked, Credential
from web.auth.origins import foreign, strange_host
from web.config import WebConfig
from web.problems import Problem

_OPEN = frozenset({"/", "/docs", "/openapi.json", "/rowcast.js", "/healthz", "/readyz"})
_OPEN_BELOW = "/static/"
_WRITE = "/write/"
_SESSION = "/session"
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
# RFC 6750 section 3: what may stand in error_description.
_UNSPEAKABLE = re.compile(r"[^ !#-\[\]-~]")


class Gate:
    """Tells who asks. Without a verifier auth is off, and it is ANYBODY."""

    def __init__(self, config: WebConfig, verifier: Verifier | None, clock: Clock) -> None:
        self._config = config
        self._verifier = verifier
        self._clock = clock

    @property
    def locked(self) -> bool:
        """Is a token needed?"""
        return self._verifier is not None

    async def admit(self, scope: HTTPScope) -> Caller:
        """Who asks; NOBODY where no token is needed. Raises Problem, or KeysUnavailableError while nobody can tell."""
        asked = Asked.of(scope)
        if self._verifier is None:
            self._look_at_page(asked)
            return ANYBODY
        if _is_open(asked.path):
            return NOBODY
        if (asked.method, asked.path) == ("DELETE", _SESSION):  # gets rid of a stale cookie too
            self._refuse_foreign(asked)
            return NOBODY
        return await self._verified(self._verifier, self._credential(asked))

    def seconds_left(self, caller: Caller) -> int | None:
        """How long this caller's token still holds; None: for ever."""
        return None if caller.expires_at is None else max(0, int(caller.expires_at - self._clock.time()))

    def _look_at_page(self, asked: Asked) -> None:
        """Auth is off: whoever reaches us may do all, but the pages that this machine's browser visits may not."""
        allowed = self._config.cors_origins
        if self._config.known_hosts_only and strange_host(asked, allowed):
            raise Problem(
                HTTPStatus.FORBIDDEN,
                f"With auth off this server answers to localhost and to addresses, not to the name {(asked.host or '')[:200]!r}, which "
                "any page on the internet could have pointed here. Set ROWCAST_AUTH=jwt, or say --insecure if something else guards it.",
            )
        if asked.method not in _READING or asked.path.startswith(_WRITE):
            self._refuse_foreign(asked)

    def _credential(self, asked: Asked) -> Credential:
        credential = asked.credential()
        if credential is None:
            raise _unauthorized("This needs a token: send the header Authorization: Bearer, and the token behind it.")
        if credential.by_cookie:
            self._refuse_foreign(asked)
            if _bearer_only(asked):
                raise _unauthorized(
                    "A cookie is not enough here, as any link would do with it. Send the header Authorization: Bearer, and the token "
                    "behind it."
                )
        return credential

    def _refuse_foreign(self, asked: Asked) -> None:
        if reason := foreign(asked, self._config.cors_origins):
            raise Problem(
                HTTPStatus.FORBIDDEN,
                f"{reason} Put that page's origin into ROWCAST_CORS_ORIGINS if it may act for whoever visits it.",
            )

    async def _verified(self, verifier: Verifier, credential: Credential) -> Caller:
        try:
            return await verifier.verify(credential.token)
        except TokenRefusedError as error:
            raise _unauthorized(str(error), error="invalid_token") from error


def _is_open(path: str) -> bool:
    return path in _OPEN or path.startswith(_OPEN_BELOW)


def _bearer_only(asked: Asked) -> bool:
    return asked.path.startswith(_WRITE) or (asked.method, asked.path) == ("POST", _SESSION)


def _unauthorized(detail: str, *, error: str | None = None) -> Problem:
    """RFC 6750 section 3: a request that brought no token is told nothing but the scheme."""
    challenge = "Bearer"
    if error is not None:
        challenge += f' error="{error}", error_description="{_UNSPEAKABLE.sub("?", detail)}"'
    return Problem(HTTPStatus.UNAUTHORIZED, detail, WWW_Authenticate=challenge)
