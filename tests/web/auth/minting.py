"""Tokens for tests, right ones and forged ones, and the keys they are signed with."""

from __future__ import annotations

import base64
import functools
import json
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from core.user_ids import UserIdType
from tests.clocks import EPOCH, HandClock
from web.auth.caller import Caller
from web.auth.config import AuthConfig
from web.auth.tokens import make_verifier

SECRET = "correct horse battery staple, twice"
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


@functools.cache
def private_key(algorithm: str) -> PrivateKey:
    """One for each algorithm, made once."""
    match algorithm:
        case "RS256":
            return rsa.generate_private_key(65537, 2048)
        case "ES256":
            return ec.generate_private_key(ec.SECP256R1())
        case _:
            return ed25519.Ed25519PrivateKey.generate()


def public_pem(key: Any) -> str:
    """As ROWCAST_JWT_KEY has it."""
    return str(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())


def private_pem(key: Any) -> str:
    return str(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())


def token(claims: object = None, *, key: Any = SECRET, algorithm: str = "HS256", **header: Any) -> str:
    """A signed token with these claims; `header` adds to its header, or replaces what is there."""
    claims = {"sub": "1"} if claims is None else claims
    return raw_token(json.dumps(claims).encode(), key=key, algorithm=algorithm, **header)


def raw_token(payload: bytes, *, key: Any = SECRET, algorithm: str = "HS256", **header: Any) -> str:
    """A signed token of any payload, also one that is no JSON, and with any header."""
    return signed(json.dumps({"alg": algorithm, "typ": "JWT"} | header).encode(), payload, key=key, algorithm=algorithm)


def signed(header: bytes, payload: bytes, *, key: Any = SECRET, algorithm: str = "HS256") -> str:
    """A token of any bytes whose signature is right."""
    how = jwt.PyJWS().get_algorithm_by_name(algorithm)
    what = b64(header) + "." + b64(payload)
    return what + "." + b64(how.sign(what.encode(), key.encode() if isinstance(key, str) else key))


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def bearer(user: object = 1, scope: str | None = None, **claims: Any) -> dict[str, str]:
    """The header of a token for this user, None: for a service."""
    named = {} if user is None else {"sub": str(user)}
    scoped = {} if scope is None else {"scope": scope}
    return {"Authorization": f"Bearer {token(named | scoped | claims)}"}


async def verify(
    text: str,
    *,
    key: str = SECRET,
    user_id_type: UserIdType = UserIdType.BIGINT,
    at: float = EPOCH,
    **config: Any,
) -> Caller:
    """Whose token it is at that time of day, for a server with that key."""
    clock = HandClock()
    clock.advance(at - EPOCH)
    return await make_verifier(AuthConfig(key=key, **config), user_id_type, clock).verify(text)
