"""Tokens: what makes a Caller, and what is refused, with TokenRefusedError and nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.user_ids import UserIdType
from tests.clocks import EPOCH
from tests.web.auth.minting import SECRET, b64, private_key, public_pem, raw_token, signed, token, verify
from web.auth.caller import DEFAULT_SCOPES, Scope, TokenRefusedError

ALGORITHMS = ("RS256", "ES256", "EdDSA")


async def refused(text: str, match: str | None = None, **how: Any) -> None:
    with pytest.raises(TokenRefusedError, match=match) as caught:
        await verify(text, **how)
    assert "\n" not in str(caught.value)
    assert SECRET not in str(caught.value)


async def test_a_secret_checks_hs256() -> None:
    caller = await verify(
        token({"sub": "7", "exp": EPOCH + 60, "iat": EPOCH - 0.5, "jti": "a", "scope": "send view x"})
    )
    assert (caller.user_id, caller.token_id) == ("7", "a")
    assert (caller.expires_at, caller.issued_at) == (EPOCH + 60, EPOCH - 0.5)
    assert caller.scopes == {Scope.SEND, Scope.VIEW}
    assert not caller.everybody


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_a_public_key_checks_its_algorithm(algorithm: str) -> None:
    key = private_key(algorithm)
    assert (await verify(token(key=key, algorithm=algorithm), key=public_pem(key))).user_id == "1"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_another_key_of_the_same_kind_is_refused(algorithm: str) -> None:
    private_key.cache_clear()
    old = private_key(algorithm)
    private_key.cache_clear()
    await refused(token(key=old, algorithm=algorithm), "signature", key=public_pem(private_key(algorithm)))


async def test_another_secret_and_a_changed_token_are_refused() -> None:
    await refused(token(key="x" * 40), "signature")
    head, _, signature = token({"sub": "1"}).split(".")
    await refused(".".join((head, b64(b'{"sub":"2"}'), signature)), "signature")
    await refused(".".join((b64(b'{"alg":"HS256"}'), b64(b'{"sub":"1"}'), signature)), "signature")


@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE", "", "HS384", "HS512", "hs256", "RS256", "PS256"])
async def test_the_header_never_chooses_the_algorithm(name: str) -> None:
    """RFC 8725 section 2.1: `none`, and any but the key's own."""
    head, claims, signature = token(alg=name).split(".")
    await refused(f"{head}.{claims}.{signature}", "key here is for HS256")
    await refused(f"{head}.{claims}.", "no signed token")
    await refused(f"{head}.{claims}", "no signed token")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_a_public_key_is_no_secret(algorithm: str) -> None:
    """RFC 8725 section 2.1: who knows the public key signs with it by HMAC."""
    pem = public_pem(private_key(algorithm))
    for known in (pem, pem.strip(), pem.replace("\n", "\\n")):
        await refused(token(key=known), "is for " + algorithm, key=pem)
        await refused(signed(b'{"alg":"%s"}' % algorithm.encode(), b'{"sub":"1"}', key=known), "signature", key=pem)


async def test_one_asymmetric_algorithm_is_not_taken_for_another() -> None:
    for mine in ALGORITHMS:
        for other in ALGORITHMS:
            if mine != other:
                text = token(key=private_key(other), algorithm=other)
                await refused(text, "is for " + mine, key=public_pem(private_key(mine)))
                await refused(
                    token(key=private_key(other), algorithm=other, alg=mine),
                    "signature",
                    key=public_pem(private_key(mine)),
                )


@pytest.mark.parametrize("algorithm", ["RS384", "RS512", "PS256"])
async def test_an_rsa_key_is_for_rs256_only(algorithm: str) -> None:
    key = private_key("RS256")
    await refused(token(key=key, algorithm=algorithm), "is for RS256", key=public_pem(key))


@pytest.mark.parametrize(
    "header",
    [{"crit": ["exp"], "exp": 1}, {"crit": []}, {"crit": ["b64"], "b64": False}, {"b64": False}, {"b64": True}],
)
async def test_headers_that_must_be_understood_are_refused(header: dict[str, Any]) -> None:
    await refused(token(**header), "crit or b64")


async def test_keys_that_a_token_brings_along_are_not_looked_at() -> None:
    mine, theirs = private_key("ES256"), token(key="attacker's own secret of 32 bytes", jwk={"kty": "oct", "k": "AA"})
    await refused(theirs)
    await refused(theirs, key=public_pem(mine))
    away: dict[str, Any] = {
        "jku": "https://evil.invalid/jwks",
        "x5u": "https://evil.invalid/cert",
        "jwk": {"kty": "oct"},
        "kid": "../../x",
    }
    assert (await verify(token(**away))).user_id == "1"


@pytest.mark.parametrize(
    "header", [{"alg": None}, {"alg": 1}, {"alg": ["HS256"]}, {"kid": 1}, {"kid": None}, {"kid": {}}]
)
async def test_header_fields_of_a_wrong_type_are_refused(header: dict[str, Any]) -> None:
    await refused(token(**header), "must name its algorithm")


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "a.b",
        "a.b.c.d",
        "a.b.c.d.e",
        "a b.c.d",
        "ä.b.c",
        "e30.e30.",
        "e30.e30.AA\n",
        " e30.e30.AA",
        "e30=.e30.AA",
    ],
)
async def test_what_is_no_token_is_refused(text: str) -> None:
    await refused(text, "no signed token")


async def test_huge_tokens_are_refused_unread() -> None:
    fits = token({"sub": "1", "pad": "x" * 6000})
    assert len(fits) <= 8192
    assert (await verify(fits)).user_id == "1"
    await refused(token({"sub": "1", "pad": "x" * 6100}), "longer than 8192")
    await refused("x" * 10_000_000, "longer than 8192")


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
async def test_deeply_nested_json_is_refused(opening: bytes) -> None:
    deep = opening * 1200
    await refused(signed(b'{"alg":"HS256","x":' + deep, b"{}"), "header.*deeper")
    await refused(raw_token(b'{"sub":' + deep), "claims.*deeper")
    assert (await verify(raw_token(b'{"sub":"1","text":"' + b"[" * 1200 + b'"}'))).user_id == "1"


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (b"", "no signed token"),
        (b"[]", "no JSON object"),
        (b"null", "no JSON object"),
        (b'"sub"', "no JSON object"),
        (b"{", "read"),
        (b'{"sub":"1"} x', "read"),
        (b'\xef\xbb\xbf{"sub":"1"}', "read"),
        (b'{"sub":"\xff"}', "read"),
        (b'{"sub":"1","sub":"2"}', "twice"),
        (b'{"sub":"1","a":{"b":1,"b":1}}', "twice"),
        (b'{"exp":NaN}', "no number"),
        (b'{"exp":-Infinity}', "no number"),
        (b'{"exp":1e400}', "too large"),
        (b'{"a":' + b"9" * 5000 + b"}", "read"),
    ],
)
async def test_claims_that_are_no_plain_json_object_are_refused(payload: bytes, why: str) -> None:
    await refused(raw_token(payload), why)


async def test_a_token_in_a_token_is_refused() -> None:
    await refused(raw_token(token().encode(), cty="JWT"), "read")


@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
@pytest.mark.parametrize("value", ["1900000000", True, None, [], {}, 10**400, -(10**400), 1e300, ""])
async def test_times_of_a_wrong_type_are_refused(name: str, value: object) -> None:
    await refused(raw_token(json.dumps({"sub": "1", name: value}).encode()), f"claim {name}.*no number of seconds")


async def test_a_token_holds_from_nbf_to_exp_with_leeway() -> None:
    text = token({"nbf": EPOCH, "exp": EPOCH + 10})
    for at in (EPOCH - 5, EPOCH, EPOCH + 14.9):
        await verify(text, at=at)
    await refused(text, "not hold yet", at=EPOCH - 5.1)
    await refused(text, "expired", at=EPOCH + 15)
    await refused(text, "expired", at=EPOCH + 10, leeway=0.0)


async def test_without_exp_it_holds_for_ever() -> None:
    caller = await verify(token(), at=EPOCH + 1e9)
    assert caller.expires_at is None


async def test_issued_in_the_future_is_refused() -> None:
    await verify(token({"iat": EPOCH + 5}))
    await refused(token({"iat": EPOCH + 5.1}), "future")


async def test_the_issuer_must_be_the_one_set() -> None:
    await verify(token({"iss": "https://a"}), issuer="https://a")
    await verify(token({"iss": "https://b"}))
    await refused(token({}), "iss", issuer="https://a")
    for value in ("https://a/", ["https://a"], "https://", None, {"https://a": 1}):
        await refused(token({"iss": value}), "iss", issuer="https://a")


async def test_the_audience_must_be_the_one_set() -> None:
    await verify(token({"aud": "me"}), audience="me")
    await verify(token({"aud": ["you", "me"]}), audience="me")
    await refused(token({}), "aud", audience="me")
    for named in ("you", [], ["you"], "some me", {"me": 1}, None, 1, [["me"]]):
        await refused(token({"aud": named}), "aud", audience="me")


async def test_a_token_for_somebody_named_is_refused_where_no_name_is_set() -> None:
    """RFC 7519 section 4.1.3."""
    await refused(token({"aud": "you"}), "ROWCAST_JWT_AUDIENCE")


@pytest.mark.parametrize(
    ("value", "user_id_type", "user_id"),
    [
        ("7", "bigint", "7"),
        ("007", "bigint", "7"),
        (7, "bigint", "7"),
        (0, "bigint", "0"),
        (-5, "bigint", "-5"),
        ("ABCDEF00-0000-0000-0000-000000000001", "uuid", "abcdef00-0000-0000-0000-000000000001"),
        ("ann|1", "text", "ann|1"),
        (7, "text", "7"),
    ],
)
async def test_the_user_id_is_as_postgres_prints_it(value: object, user_id_type: str, user_id: str) -> None:
    caller = await verify(token({"sub": value}), user_id_type=UserIdType(user_id_type))
    assert caller.user_id == user_id


@pytest.mark.parametrize(
    ("value", "user_id_type", "why"),
    [
        ("abc", "bigint", "whole number of 64 bits"),
        (2**63, "bigint", "whole number of 64 bits"),
        (10**4000, "bigint", "whole number of 64 bits"),
        (True, "bigint", "must be a user id"),
        (1.0, "bigint", "must be a user id"),
        (None, "bigint", "must be a user id"),
        ([], "text", "must be a user id"),
        ("7", "uuid", "UUID"),
        ("", "text", "at least one character"),
        ("a\0", "text", "NUL"),
        ("\ud800", "text", "surrogate"),
    ],
)
async def test_what_is_no_user_id_is_refused(value: object, user_id_type: str, why: str) -> None:
    await refused(token({"sub": value}), why, user_id_type=UserIdType(user_id_type))


async def test_another_claim_may_hold_the_user_id() -> None:
    claims = {"sub": "ann", "https://rowcast/id": 4}
    assert (await verify(token(claims), user_claim="https://rowcast/id")).user_id == "4"


async def test_without_a_user_id_it_is_a_service() -> None:
    caller = await verify(token({"scope": "send"}))
    assert caller.user_id is None
    assert not caller.acts_for("1")
    assert caller.scopes == {Scope.SEND}


async def test_scopes_are_words() -> None:
    assert (await verify(token({}))).scopes == DEFAULT_SCOPES
    assert (await verify(token({"scope": ""}))).scopes == frozenset()
    assert (await verify(token({"scope": "sender READ admin,send openid"}))).scopes == frozenset()
    for value in (["read"], None, 1, {"read": True}):
        await refused(token({"scope": value}), "scope")


async def test_the_name_of_a_token_is_a_storable_string() -> None:
    for value in (1, None, "", "a\0b", "\ud800", "x" * 256, ["a"], True):
        await refused(token({"jti": value}), "jti")
    assert (await verify(token({"jti": "x" * 255}))).token_id == "x" * 255
