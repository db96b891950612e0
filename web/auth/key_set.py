"""A JSON Web Key Set (RFC 7517) → the keys in it that tokens may be signed with (pure).

A key that is not for us is passed over, as section 5 asks for: of another kind or algorithm, for encryption, a secret (`oct`), or one that
should never have been published, with its private half.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from jwt import PyJWK
from jwt.exceptions import PyJWTError

from web.auth.keys import Key, fit
from web.auth.strict_json import parse_object

MOST_KEYS = 100
# Keys that are tried for a token which names none.
MOST_UNNAMED = 4
_ALGORITHMS = {("RSA", None): "RS256", ("EC", "P-256"): "ES256", ("OKP", "Ed25519"): "EdDSA"}


@dataclass(frozen=True, slots=True)
class KeySet:
    """The keys by their names; one name may be that of several. `passed_over` says why, for the others, in the order of the set."""

    by_name: dict[str | None, tuple[Key, ...]] = field(default_factory=dict)
    passed_over: tuple[str, ...] = ()

    def __len__(self) -> int:
        return sum(len(keys) for keys in self.by_name.values())

    def named(self, kid: str | None) -> Sequence[Key]:
        """The keys of that name; for none all there are, if they are few (RFC 7517 section 4.5 makes names optional)."""
        if kid is not None:
            return self.by_name.get(kid, ())
        return [key for keys in self.by_name.values() for key in keys] if len(self) <= MOST_UNNAMED else ()


def read_key_set(raw: bytes) -> KeySet:
    """The keys of the set; raises ValueError, with a reason, for what is no key set."""
    members = parse_object(raw).get("keys")
    if not isinstance(members, list) or len(members) > MOST_KEYS:
        raise ValueError(f"it has no list `keys`, or one of more than {MOST_KEYS}")
    by_name: dict[str | None, tuple[Key, ...]] = {}
    passed_over = []
    for member in members:
        try:
            name, key = _named_key(member)
        except ValueError as reason:
            passed_over.append(str(reason))
        else:
            by_name[name] = (*by_name.get(name, ()), key)
    return KeySet(by_name, tuple(passed_over))


def _named_key(jwk: Any) -> tuple[str | None, Key]:
    if not isinstance(jwk, dict):
        raise ValueError("no JSON object")  # noqa: TRY004 -- one kind of error for all that is wrong with it
    name = jwk.get("kid")
    if name is not None and not isinstance(name, str):
        raise ValueError("kid is no string")
    algorithm = _algorithm(jwk)
    try:
        key = fit(PyJWK(jwk, algorithm).key)
    except (PyJWTError, ValueError, TypeError):
        raise ValueError("its numbers are no key that is taken") from None
    if key.algorithm != algorithm:
        raise ValueError("its numbers are of another kind than it says")
    return name, key


def _algorithm(jwk: dict[str, Any]) -> str:
    """The one that the key is for, by kind and curve; what it says of its use must agree."""
    kty, crv = str(jwk.get("kty")), str(jwk.get("crv"))
    algorithm = _ALGORITHMS.get((kty, None if kty == "RSA" else crv))
    if algorithm is None:
        raise ValueError(f"kty {kty[:20]!r} with crv {crv[:20]!r} is not taken")
    if "d" in jwk:
        raise ValueError("its private half is published: whoever reads it can make tokens")
    if jwk.get("alg", algorithm) not in (algorithm, "Ed25519" if algorithm == "EdDSA" else algorithm):  # RFC 9864
        raise ValueError("alg is another one than its kind is taken for")
    if jwk.get("use", "sig") != "sig" or not _may_verify(jwk.get("key_ops", ["verify"])):
        raise ValueError("it is not for signatures (use, key_ops)")
    return algorithm


def _may_verify(operations: object) -> bool:
    return isinstance(operations, list) and "verify" in operations
