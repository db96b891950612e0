"""Tokens for trying. In production whoever knows the users makes them; Rowcast only checks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jwt

from core.errors import ConfigurationError
from core.user_ids import UserIdType
from rowcast.settings import Settings, spelled
from web.auth.caller import Scope
from web.auth.keys import Key, read_key


@dataclass(frozen=True, slots=True)
class Order:
    """What a token shall say. `user` is None for a service that is no user; `ttl` is seconds."""

    user: str | None
    scopes: frozenset[Scope]
    ttl: float
    token_id: str


def can_make_tokens(settings: Settings) -> bool:
    """Is there a secret? What is public only checks them."""
    return bool(settings.jwt_key) and read_key(settings.jwt_key).algorithm == "HS256"


def make_token(settings: Settings, order: Order, now: float) -> str:
    """A token that a web with these settings takes from `now` (seconds since 1970) on; raises ConfigurationError, InvalidUserIdError.

    `iat` has fractions of a second, so that one made right after a revocation is newer than it.
    """
    key = _signing_key(settings)
    claims: dict[str, Any] = {
        "iat": round(now, 6),
        "exp": round(now + order.ttl, 6),
        "jti": order.token_id,
        "scope": " ".join(scope for scope in Scope if scope in order.scopes),
    }
    if order.user is not None:
        claims[settings.jwt_user_claim] = _canonical(settings, order.user)
    if settings.jwt_issuer:
        claims["iss"] = settings.jwt_issuer
    if settings.jwt_audience:
        claims["aud"] = settings.jwt_audience
    assert isinstance(key.material, bytes)  # noqa: S101 -- HS256
    return jwt.encode(claims, key.material, key.algorithm)


def _signing_key(settings: Settings) -> Key:
    if not settings.jwt_key and settings.jwks_url:
        raise ConfigurationError(
            f"{spelled('jwks_url')} only tells how to check tokens. Whoever publishes it makes them."
        )
    settings.need("jwt_key")
    key = read_key(settings.jwt_key)
    if key.algorithm != "HS256":
        raise ConfigurationError(
            f"{spelled('jwt_key')} is a public key, which checks tokens and can't make any. Whoever has its private half "
            "makes them; to try, set a secret here and for the web: openssl rand -base64 48"
        )
    return key


def _canonical(settings: Settings, user: str) -> str:
    """As Postgres prints it, where the type of user ids was said; else the web tells what is wrong with it."""
    kind = settings.user_id_type if settings.chosen("user_id_type") else UserIdType.TEXT
    return kind.canonical(user)
