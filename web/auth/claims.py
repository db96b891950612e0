"""What a token says, once its signature is known to be right: checked, and made a Caller (pure)."""

from __future__ import annotations

import re
from typing import Any

from core.errors import InvalidUserIdError
from core.user_ids import UserIdType
from web.auth.caller import DEFAULT_SCOPES, Caller, Scope, TokenRefusedError
from web.auth.config import AuthConfig

# The whole numbers that a float holds exactly.
_LATEST = 2**53
# Characters. What can be revoked must be storable.
LONGEST_TOKEN_ID = 255
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def read_claims(claims: dict[str, Any], config: AuthConfig, user_id_type: UserIdType, now: float) -> Caller:
    """The bearer, if these claims hold at `now` (seconds since 1970); raises TokenRefusedError. RFC 7519 section 4.1."""
    expires_at, issued_at = _date(claims, "exp"), _date(claims, "iat")
    _in_time(expires_at, _date(claims, "nbf"), issued_at, now, config.leeway)
    _from_whom(claims, config.issuer)
    _for_whom(claims, config.audience)
    return Caller(
        user_id=_user_id(claims, config.user_claim, user_id_type),
        scopes=_scopes(claims),
        expires_at=expires_at,
        issued_at=issued_at,
        token_id=_token_id(claims),
    )


def _date(claims: dict[str, Any], name: str) -> float | None:
    if name not in claims:
        return None
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > _LATEST:
        raise TokenRefusedError(f"The claim {name} of this token is no number of seconds since 1970.")
    return float(value)


def _in_time(
    expires_at: float | None, begins_at: float | None, issued_at: float | None, now: float, leeway: float
) -> None:
    if expires_at is not None and now >= expires_at + leeway:
        raise TokenRefusedError("This token has expired (exp). Get a new one.")
    if begins_at is not None and now < begins_at - leeway:
        raise TokenRefusedError("This token does not hold yet (nbf).")
    if issued_at is not None and now < issued_at - leeway:
        raise TokenRefusedError("This token was issued in the future (iat): one of the two clocks is wrong.")


def _from_whom(claims: dict[str, Any], issuer: str) -> None:
    if issuer and claims.get("iss") != issuer:
        raise TokenRefusedError("This token is from somebody else than it must be (iss).")


def _for_whom(claims: dict[str, Any], audience: str) -> None:
    """Who does not find itself in `aud` must refuse: RFC 7519 section 4.1.3."""
    named = claims.get("aud", [])
    if not audience and "aud" in claims:
        raise TokenRefusedError(
            "This token is for somebody who is named (aud), and this server was not told its name: ROWCAST_JWT_AUDIENCE."
        )
    if audience and audience not in (named if isinstance(named, list) else [named]):
        raise TokenRefusedError("This token is not for this server (aud).")


def _user_id(claims: dict[str, Any], name: str, user_id_type: UserIdType) -> str | None:
    if name not in claims:
        return None
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise TokenRefusedError(f"The claim {name[:80]} of this token must be a user id: a string or a whole number.")
    try:
        return user_id_type.canonical(str(value))
    except (InvalidUserIdError, ValueError) as error:
        raise TokenRefusedError(f"The claim {name[:80]} of this token: {error}") from None


def _scopes(claims: dict[str, Any]) -> frozenset[Scope]:
    if "scope" not in claims:
        return DEFAULT_SCOPES
    if not isinstance(claims["scope"], str):
        raise TokenRefusedError("The claim scope of this token must be a string of words with a space between.")
    words = claims["scope"].split(" ")
    return frozenset(scope for scope in Scope if scope in words)


def _token_id(claims: dict[str, Any]) -> str | None:
    if "jti" not in claims:
        return None
    value = claims["jti"]
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_TOKEN_ID or _UNSTORABLE.search(value):
        raise TokenRefusedError(
            f"The claim jti of this token must be a string of 1 to {LONGEST_TOKEN_ID} characters, without NUL."
        )
    return value
