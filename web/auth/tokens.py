"""Whose token is it? JWTs in the compact form of RFC 7515, checked by a key of ours or one from a JWKS."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from typing import Any

from jwt import PyJWS
from jwt.exceptions import PyJWTError

from core.clock import Clock
from core.user_ids import UserIdType
from web.auth.caller import Caller, TokenRefusedError
from web.auth.claims import read_claims
from web.auth.config import AuthConfig
from web.auth.jwks import Jwks
from web.auth.keys import FixedKey, Key, KeySource, read_key
from web.auth.strict_json import parse_object

# Characters. Servers take some 16 KiB of header in all.
LONGEST = 8192
_COMPACT = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)", re.ASCII)
# Header parameters that change what is signed: who does not do what they say must refuse (RFC 7515 section 4.1.11, RFC 7797).
_CHANGERS = ("crit", "b64")


class TokenVerifier:
    """A Verifier that asks nobody but its keys. Revoked tokens pass."""

    def __init__(self, config: AuthConfig, user_id_type: UserIdType, keys: KeySource, clock: Clock) -> None:
        self._config = config
        self._user_id_type = user_id_type
        self._keys = keys
        self._clock = clock

    async def run(self) -> None:
        """Keep the keys fresh, until cancelled; returns at once if they never change."""
        await self._keys.run()

    async def verify(self, token: str) -> Caller:
        """The bearer of this token; raises TokenRefusedError, or KeysUnavailableError while nobody can tell."""
        header = _header(token)
        keys = await self._keys.find(header.get("kid"))
        claims = _claims(_signed(token, header["alg"], keys))
        return read_claims(claims, self._config, self._user_id_type, self._clock.time())


def make_verifier(config: AuthConfig, user_id_type: UserIdType, clock: Clock) -> TokenVerifier:
    """What tells whose token it is; its `run` must run as long as it is asked. Raises ConfigurationError for a key that is none."""
    keys = Jwks(config.jwks_url, clock) if config.jwks_url else FixedKey(read_key(config.key))
    return TokenVerifier(config, user_id_type, keys, clock)


def _header(token: str) -> dict[str, Any]:
    """Its header, in which nothing is believed but the name of the key; `alg` only has to be what the key is for."""
    if len(token) > LONGEST:
        raise TokenRefusedError(f"This token is longer than {LONGEST} bytes.")
    parts = _COMPACT.fullmatch(token)
    if parts is None:
        raise TokenRefusedError("This is no signed token: header.claims.signature, each in base64url (RFC 7515).")
    header = _object(parts[1], "header")
    if any(name in header for name in _CHANGERS):
        raise TokenRefusedError("This token has a header (crit or b64) that asks for what this server does not do.")
    if not isinstance(header.get("alg"), str) or not isinstance(header.get("kid", ""), str):
        raise TokenRefusedError(
            "The header of this token must name its algorithm (alg), and its key (kid) as a string."
        )
    return header


def _signed(token: str, algorithm: str, keys: Sequence[Key]) -> bytes:
    """What is signed by one of the keys."""
    fitting = [key for key in keys if key.algorithm == algorithm]
    if not fitting:
        allowed = " or ".join(sorted({key.algorithm for key in keys}))
        raise TokenRefusedError(f"This token is signed by {algorithm[:20]!r}; the key here is for {allowed}.")
    for key in fitting:
        try:
            return bytes(_JWS[key.algorithm].decode(token, key.material, algorithms=[key.algorithm]))
        except (PyJWTError, ValueError):
            continue
    raise TokenRefusedError("The signature of this token is not by the key that this server checks with.")


def _claims(payload: bytes) -> dict[str, Any]:
    try:
        return parse_object(payload)
    except ValueError as error:
        raise TokenRefusedError(f"The claims of this token can't be read: {error}.") from None


def _object(part: str, what: str) -> dict[str, Any]:
    try:
        return parse_object(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except ValueError as error:
        raise TokenRefusedError(f"The {what} of this token can't be read: {error}.") from None


# One for each algorithm, which knows no other.
_JWS = {name: PyJWS(algorithms=[name]) for name in ("HS256", "RS256", "ES256", "EdDSA")}
