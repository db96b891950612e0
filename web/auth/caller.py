"""Who asks, and what they may: the one shape that every route and stream is handed (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from core.errors import RowcastError


class Scope(StrEnum):
    """What a token allows, as its claim `scope` names it (RFC 8693 section 4.2: words with a space between)."""

    READ = "read"  # one's own stream and list
    VIEW = "view"  # mark one's own as viewed
    SEND = "send"  # insert, for others too
    ADMIN = "admin"  # revoke tokens


DEFAULT_SCOPES = frozenset({Scope.READ, Scope.VIEW})


class TokenRefusedError(RowcastError):
    """This token proves nothing: forged, expired, revoked, or not for us. The text says which, for whoever sent it."""


class KeysUnavailableError(RowcastError):
    """Nobody can tell now whose token this is: the keys to check it with can't be fetched. It may be right; try again later."""


@dataclass(frozen=True, slots=True)
class Caller:
    """One token's bearer. `user_id` is in the form Postgres prints, None for a service that is no user; times are seconds since 1970.

    `everybody`: auth is off, and the caller may act for any user.
    """

    user_id: str | None
    scopes: frozenset[Scope] = DEFAULT_SCOPES
    expires_at: float | None = None
    issued_at: float | None = None
    token_id: str | None = None
    everybody: bool = False

    def may(self, scope: Scope) -> bool:
        """Does the token have that scope?"""
        return scope in self.scopes

    def acts_for(self, user_id: str) -> bool:
        """Is it that user, or anybody?"""
        return self.everybody or self.user_id == user_id


ANYBODY = Caller(None, frozenset(Scope), everybody=True)
NOBODY = Caller(None, frozenset())  # where no token is needed


class Verifier(Protocol):
    """What tells whose token it is."""

    async def verify(self, token: str) -> Caller:
        """The bearer of this token; raises TokenRefusedError or KeysUnavailableError."""
