"""What signatures are checked with. The algorithm follows from the key alone, never from what a token says of itself.

A secret checks HS256 and nothing else, an RSA key RS256, one on the curve P-256 ES256, one of Ed25519 EdDSA: so no token can have its
check replaced by a weaker one (RFC 8725 sections 2.1 and 3.1).
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_public_key
from cryptography.x509 import load_der_x509_certificate

from core.errors import ConfigurationError

# Bytes. RFC 7518 section 3.2: a key of the size of the hash or larger.
SHORTEST_SECRET = 32
# Bits. RFC 7518 section 3.3 sets the least; the most keeps one check below a millisecond.
RSA_BITS = range(2048, 8192 + 1)
# How OpenSSH writes public keys, and RFC 4716 section 3.2.
_OTHER_FORM = re.compile(r"""["'\s]*(ssh-|ecdsa-sha2-|sk-ssh-|sk-ecdsa-|-+ ?BEGIN )""")

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey

_MAKE_SECRET = "Make one with: openssl rand -base64 48"  # noqa: S105 -- how to make one
_MAKE_PUBLIC = "openssl pkey -in private.pem -pubout"


@dataclass(frozen=True, slots=True)
class Key:
    """A key and the one algorithm it is for."""

    algorithm: str
    material: bytes | PublicKey = field(repr=False)


class KeySource(Protocol):
    """Where the keys come from."""

    async def find(self, kid: str | None) -> Sequence[Key]:
        """The keys that a token with that `kid` may be signed with; raises TokenRefusedError or KeysUnavailableError."""

    async def run(self) -> None:
        """Keep them fresh, until cancelled; returns at once if there is nothing to do."""


class FixedKey:
    """The one key of ROWCAST_JWT_KEY, whatever name a token gives it."""

    def __init__(self, key: Key) -> None:
        self._keys = (key,)

    async def find(self, kid: str | None) -> Sequence[Key]:  # noqa: ARG002
        return self._keys

    async def run(self) -> None:
        return


def read_key(text: str) -> Key:
    """The key that ROWCAST_JWT_KEY holds: a PEM public key, or else a secret. Raises ConfigurationError, which never shows it."""
    if "-----BEGIN" in text:
        return _public(text)
    if _is_some_public_key(text):
        raise ConfigurationError(
            "ROWCAST_JWT_KEY holds a public key in a form other than PEM; as a secret it would let anybody make tokens. "
            "Give it in PEM, with its lines -----BEGIN PUBLIC KEY----- and -----END PUBLIC KEY-----."
        )
    secret = text.encode(errors="surrogateescape")  # the bytes of the environment, whatever they are
    if len(secret) < SHORTEST_SECRET:
        raise ConfigurationError(
            f"ROWCAST_JWT_KEY holds a secret of {len(secret)} bytes; HS256 needs at least {SHORTEST_SECRET}, "
            f"or it can be guessed. {_MAKE_SECRET}"
        )
    return Key("HS256", secret)


def _public(text: str) -> Key:
    if "PRIVATE KEY-----" in text:
        raise ConfigurationError(
            "ROWCAST_JWT_KEY holds a private key. Rowcast only checks tokens and must not be able to make them: give it "
            f"the public key, as {_MAKE_PUBLIC} prints it."
        )
    try:
        loaded = load_pem_public_key(text.replace("\\n", "\n").encode())
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigurationError(
            f"ROWCAST_JWT_KEY looks like PEM but holds no public key that can be read. {_MAKE_PUBLIC} prints one; "
            "for a certificate do: openssl x509 -in cert.pem -noout -pubkey"
        ) from None
    try:
        return fit(loaded)
    except ValueError as error:
        raise ConfigurationError(f"ROWCAST_JWT_KEY: {error}") from None


def fit(key: object) -> Key:
    """The key with its algorithm; raises ValueError with a sentence for kinds, curves and sizes that are not taken."""
    match key:
        case RSAPublicKey() if key.key_size in RSA_BITS:
            return Key("RS256", key)
        case RSAPublicKey():
            raise ValueError(f"An RSA key must have {RSA_BITS[0]} to {RSA_BITS[-1]} bits, and not {key.key_size}.")
        case EllipticCurvePublicKey() if isinstance(key.curve, SECP256R1):
            return Key("ES256", key)
        case EllipticCurvePublicKey():
            raise ValueError(f"An elliptic curve must be P-256 (ES256), and not {key.curve.name}.")
        case Ed25519PublicKey():
            return Key("EdDSA", key)
    raise ValueError("A public key must be RSA (RS256), elliptic on P-256 (ES256) or Ed25519 (EdDSA); this is none.")


def _is_some_public_key(text: str) -> bool:
    """Is it one, or a certificate, that lacks its PEM lines: OpenSSH's, a JWK, DER in Base64 or hexadecimal?"""
    if _OTHER_FORM.match(text):
        return True
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return _is_der(text)
    if isinstance(value, str):
        return _is_some_public_key(value)
    return isinstance(value, dict) and ("kty" in value or "keys" in value)


def _is_der(text: str) -> bool:
    return any(_loads(der) for der in _decoded("".join(text.split()).strip("'")))


def _decoded(text: str) -> Iterator[bytes]:
    """All that it may stand for: Base64 of either alphabet (RFC 4648), with its padding or without, and hexadecimal."""
    bare = text.rstrip("=")
    for altchars in (b"+/", b"-_"):
        with suppress(ValueError):
            yield base64.b64decode(bare + "=" * (-len(bare) % 4), altchars, validate=True)
    with suppress(ValueError):
        yield bytes.fromhex(text.replace(":", ""))


def _loads(der: bytes) -> bool:
    for load in (load_der_public_key, load_der_x509_certificate):
        with suppress(ValueError, UnsupportedAlgorithm):
            load(der)
            return True
    return False
