"""Whatever comes as a token gives a Caller or TokenRefusedError, never another error, and a Caller only for what was signed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from core.user_ids import UserIdType
from tests.clocks import EPOCH
from tests.web.auth.key_server import jwk
from tests.web.auth.minting import b64, private_key, public_pem, raw_token, signed, token, verify
from web.auth.caller import Caller, TokenRefusedError
from web.auth.key_set import read_key_set
from web.auth.strict_json import parse_object

NAMES = st.sampled_from(["sub", "exp", "nbf", "iat", "iss", "aud", "scope", "jti", "x"])
HEADER_NAMES = st.sampled_from(["alg", "typ", "kid", "jwk", "jku", "x5u", "x5c", "crit", "b64", "cty", "zip", "enc"])
WORDS = st.sampled_from(["HS256", "RS256", "ES256", "EdDSA", "none", "JWT", "read view", "1", "-1", "me"]) | st.text()
NUMBERS = st.integers() | st.floats() | st.sampled_from([EPOCH, 2**53 + 1, -(2**63), 10**400, 1e308, -0.0])
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES | HEADER_NAMES | st.text(), inner, max_size=4),
    max_leaves=20,
)
# `pytest --hypothesis-profile` can't ask for more than this: set MORE=1000.
SOME = settings(
    deadline=None, max_examples=int(os.environ.get("MORE", "30")), suppress_health_check=[HealthCheck.too_slow]
)


def bearer(text: str, **how: Any) -> Caller | None:
    """Whose token it is, None if it is refused; any other error gets out."""
    try:
        return asyncio.run(verify(text, **how))
    except TokenRefusedError as refused:
        sentence = str(refused)
    assert "\n" not in sentence
    sentence.encode()  # no half of a surrogate pair
    return None


def text_of(value: Any) -> bytes:
    return json.dumps(value).encode()


@SOME
@given(st.text() | st.text("abcXYZ019-_.=", max_size=60) | st.binary().map(b64))
def test_text(text: str) -> None:
    assert bearer(text) is None


@SOME
@given(st.binary(), st.binary(), st.binary())
def test_three_parts_of_anything(header: bytes, claims: bytes, signature: bytes) -> None:
    assert bearer(".".join(map(b64, (header, claims, signature)))) is None


@SOME
@given(st.binary() | JSON.map(text_of))
def test_anything_signed(payload: bytes) -> None:
    caller = bearer(raw_token(payload))
    assert caller is None or isinstance(parse_object(payload), dict)


@SOME
@given(st.dictionaries(NAMES, JSON), st.sampled_from(UserIdType))
@example({"sub": "1", "exp": EPOCH, "scope": "read"}, UserIdType.BIGINT)
def test_any_claims_signed(claims: dict[str, Any], kind: UserIdType) -> None:
    caller = bearer(raw_token(text_of(claims)), user_id_type=kind, audience="me" if "aud" in claims else "")
    if caller is None:
        return
    assert caller.user_id is None or kind.canonical(caller.user_id) == caller.user_id
    assert (caller.user_id is None) is ("sub" not in claims)
    for name, time in (("exp", caller.expires_at), ("iat", caller.issued_at)):
        assert (time is None) is (name not in claims)
        assert time is None or (type(time) is float and time == claims[name] and not isinstance(claims[name], bool))
    assert caller.token_id == claims.get("jti")
    (caller.token_id or "").encode()


@SOME
@given(st.dictionaries(HEADER_NAMES, JSON) | st.binary())
def test_any_header_signed(header: dict[str, Any] | bytes) -> None:
    """Only what names the key's own algorithm, and nothing that must be understood, gets through."""
    caller = bearer(signed(header if isinstance(header, bytes) else text_of(header), b'{"sub":"1"}'))
    if caller:
        said = parse_object(header if isinstance(header, bytes) else text_of(header))
        assert said["alg"] == "HS256"
        assert not {"crit", "b64"} & said.keys()


@SOME
@given(st.data(), st.sampled_from(["HS256", "RS256", "ES256", "EdDSA"]))
def test_a_right_token_changed_anywhere(data: st.DataObject, algorithm: str) -> None:
    how: dict[str, Any] = {} if algorithm == "HS256" else {"key": private_key(algorithm), "algorithm": algorithm}
    right = token({"sub": "1"}, **how)
    at = data.draw(st.integers(0, len(right) - 1))
    other = data.draw(st.sampled_from("ABCxyz019-_.") | st.characters(codec="utf-8"))
    changed = right[:at] + other + right[at + 1 :]
    key = {"key": public_pem(how["key"])} if how else {}
    assert bearer(right, **key)
    assert changed == right or bearer(changed, **key) is None


@SOME
@given(JSON.map(text_of) | st.binary())
def test_any_answer_of_a_jwks(raw: bytes) -> None:
    with contextlib.suppress(ValueError):
        read_key_set(raw)


@SOME
@given(
    st.lists(
        st.sampled_from(["RS256", "ES256", "EdDSA"]).flatmap(
            lambda kind: st.dictionaries(
                st.sampled_from(["kty", "crv", "alg", "use", "key_ops", "kid", "n", "e", "x", "y", "d", "k"]),
                JSON | st.sampled_from(["EC", "RSA", "OKP", "oct", "P-256", "Ed25519", "sig", "AQAB"]),
            ).map(lambda changes: jwk(private_key(kind), kind) | changes)
        ),
        max_size=3,
    )
)
def test_any_keys_of_a_jwks(keys: list[dict[str, Any]]) -> None:
    """Each is taken with the algorithm of its kind, or passed over."""
    try:
        found = read_key_set(text_of({"keys": keys}))
    except ValueError:
        return
    assert len(found) + len(found.passed_over) == len(keys)
    for kept in found.by_name.values():
        assert {key.algorithm for key in kept} <= {"RS256", "ES256", "EdDSA"}
