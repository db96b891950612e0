"""Keys that are published: fetched once for all who wait, changed when they change, and never trusted past their time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from core.clock import SystemClock
from core.user_ids import UserIdType
from tests.clocks import HandClock
from tests.web.auth.key_server import jwk, own_certificate, publishing
from tests.web.auth.minting import SECRET, b64, private_key, public_pem, token
from web.auth.caller import KeysUnavailableError, TokenRefusedError
from web.auth.config import AuthConfig
from web.auth.freshness import Freshness, freshness
from web.auth.jwks import BURST, LARGEST, REFILL, SETTLED, Allowance
from web.auth.tokens import TokenVerifier, make_verifier


class Ahead(SystemClock):
    """The machine's, with time that tests add."""

    def __init__(self) -> None:
        super().__init__()
        self.added = 0.0

    def now(self) -> float:
        return super().now() + self.added


class Verifying:
    """A verifier whose `run` runs, and its clock."""

    def __init__(self, url: str) -> None:
        self.clock = Ahead()
        self.verifier: TokenVerifier = make_verifier(AuthConfig(jwks_url=url), UserIdType.BIGINT, self.clock)

    async def user(self, text: str) -> str | None:
        async with asyncio.timeout(10):
            return (await self.verifier.verify(text)).user_id

    async def refuses(self, text: str, why: str = "kid") -> None:
        with pytest.raises(TokenRefusedError, match=why):
            await self.user(text)

    async def cannot_tell(self, text: str) -> None:
        with pytest.raises(KeysUnavailableError):
            await self.user(text)


@asynccontextmanager
async def verifying(url: str) -> AsyncIterator[Verifying]:
    made = Verifying(url)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(made.verifier.run(), name="keys")
        try:
            yield made
        finally:
            running.cancel()


def signed_by(kid: str | None, algorithm: str = "ES256", sub: str = "1") -> str:
    named = {} if kid is None else {"kid": kid}
    return token({"sub": sub}, key=private_key(algorithm), algorithm=algorithm, **named)


def listed(kid: str | None, algorithm: str = "ES256", **members: Any) -> dict[str, Any]:
    named = {} if kid is None else {"kid": kid}
    return jwk(private_key(algorithm), algorithm, **named, **members)


async def test_each_kind_of_key_checks_its_algorithm() -> None:
    kinds = ("RS256", "ES256", "EdDSA")
    async with publishing(*(listed(kind, kind, alg=kind, use="sig") for kind in kinds)) as server:
        async with verifying(server.url) as v:
            for kind in kinds:
                assert await v.user(signed_by(kind, kind)) == "1"
            for kind in kinds:
                await v.refuses(token(kid=kind), f"key here is for {kind}")
                await v.refuses(token(key=public_pem(private_key(kind)), kid=kind), f"key here is for {kind}")
            await v.refuses(signed_by("RS256", "ES256"), "key here is for RS256")
        assert server.fetches == 1


PASSED_OVER: dict[str, Any] = {
    "a secret": {"kty": "oct", "k": b64(SECRET.encode()), "kid": "a", "alg": "HS256"},
    "for encryption": {"use": "enc"},
    "another algorithm": {"alg": "ES384"},
    "an algorithm that is no name": {"alg": 1},
    "for signing": {"key_ops": ["sign"]},
    "operations that are no list": {"key_ops": "verify"},
    "with its private half": {"d": "AA"},
    "another curve": {"crv": "P-384"},
    "a short number": {"x": "AA"},
    "a number that is no text": {"x": 1},
    "a kind that is no name": {"kty": ["EC"]},
    "another kind": {"kty": "RSA"},
    "a name that is none": {"kid": 1},
    "no object": "a",
}


@pytest.mark.parametrize("entry", PASSED_OVER.values(), ids=PASSED_OVER.keys())
async def test_keys_that_are_not_for_this_are_passed_over(entry: Any) -> None:
    if isinstance(entry, dict) and "k" not in entry:
        entry = listed("a") | entry
    async with publishing(entry, listed("good", "EdDSA", alg="Ed25519")) as server, verifying(server.url) as v:
        assert await v.user(signed_by("good", "EdDSA")) == "1"
        await v.refuses(signed_by("a"))
        await v.refuses(token(kid="a"))


async def test_a_token_that_names_no_key_is_checked_by_any_if_they_are_few() -> None:
    several = [listed("a"), listed(None, "EdDSA")]
    async with publishing(*several) as server, verifying(server.url) as v:
        assert await v.user(signed_by(None)) == "1"
        assert await v.user(signed_by(None, "EdDSA")) == "1"
        await v.refuses(signed_by(None, "RS256"), "key here is for ES256 or EdDSA")
    async with publishing(*several, *(listed(str(n)) for n in range(3))) as server, verifying(server.url) as v:
        await v.refuses(signed_by(None))


async def test_two_keys_of_one_name_are_both_tried() -> None:
    async with publishing(listed("a", "RS256"), listed("a", "ES256")) as server, verifying(server.url) as v:
        assert await v.user(signed_by("a", "ES256")) == "1"
        assert await v.user(signed_by("a", "RS256")) == "1"


async def test_a_new_key_is_fetched_when_a_token_names_it() -> None:
    async with publishing(listed("old")) as server, verifying(server.url) as v:
        assert await v.user(signed_by("old")) == "1"
        server.keys = [listed("new", "EdDSA")]
        assert await v.user(signed_by("new", "EdDSA")) == "1"
        assert server.fetches == 2
        await v.refuses(signed_by("old"))  # which is withdrawn by this


async def test_all_who_wait_wait_for_one_fetch() -> None:
    async with publishing(listed("a")) as server, verifying(server.url) as v:
        server.open.clear()
        async with asyncio.TaskGroup() as tasks:
            waiting = [tasks.create_task(v.user(signed_by("a"))) for _ in range(200)]
            await server.asked.wait()
            server.open.set()
        assert {task.result() for task in waiting} == {"1"}
        assert server.fetches == 1


async def test_invented_names_cause_few_fetches() -> None:
    """Some at once, then one each 10 s; whose key can't be looked for right then is told to come again, not that it is wrong."""
    async with publishing(listed("a")) as server, verifying(server.url) as v:
        assert await v.user(signed_by("a")) == "1"
        async with asyncio.TaskGroup() as tasks:
            for n in range(300):
                tasks.create_task(v.refuses(signed_by(f"x{n}")))
        assert server.fetches == 2
        for n in range(10):
            await v.refuses(signed_by(f"y{n}"))
        assert server.fetches == 2
        for n in range(BURST - 1):
            v.clock.added += SETTLED
            await v.refuses(signed_by(f"z{n}"))
        v.clock.added += SETTLED
        await v.cannot_tell(signed_by("x"))
        assert server.fetches == 1 + BURST
        v.clock.added += REFILL
        await v.refuses(signed_by("x"))
        assert server.fetches == 2 + BURST
        assert await v.user(signed_by("a")) == "1"


async def test_keys_are_fetched_anew_before_they_are_old() -> None:
    async with (
        publishing(listed("a"), headers={"cache-control": "public, max-age=1"}) as server,
        verifying(server.url) as v,
    ):
        assert await v.user(signed_by("a")) == "1"
        server.keys = [listed("b")]
        server.asked.clear()
        async with asyncio.timeout(5):
            await server.asked.wait()
            while v.verifier and await still_taken(v, signed_by("a")):
                pass
        assert await v.user(signed_by("b")) == "1"


async def still_taken(v: Verifying, text: str) -> bool:
    try:
        await v.user(text)
    except TokenRefusedError:
        return False
    return True


@pytest.mark.parametrize(
    ("header", "trusted"),
    [("max-age=60", 60.0), ("max-age=60, stale-if-error=100", 160.0), ("max-age=86400", 3600.0), ("no-cache", 3600.0)],
)
async def test_keys_are_never_trusted_past_their_time(header: str, trusted: float) -> None:
    async with publishing(listed("a"), headers={"cache-control": header}) as server, verifying(server.url) as v:
        assert await v.user(signed_by("a")) == "1"
        v.clock.added = trusted - 10
        assert await v.user(signed_by("a")) == "1"
        v.clock.added = trusted
        await v.cannot_tell(signed_by("a"))


async def test_while_no_keys_were_ever_fetched_nobody_can_tell_and_later_they_can() -> None:
    async with publishing(listed("a"), status=503) as server, verifying(server.url) as v:
        await v.cannot_tell(signed_by("a"))
        server.status = 200
        async with asyncio.timeout(10):
            while True:
                try:
                    assert await v.user(signed_by("a")) == "1"
                    break
                except KeysUnavailableError:
                    server.asked.clear()
                    await server.asked.wait()


async def test_keys_stay_while_fetching_them_fails() -> None:
    async with publishing(listed("a")) as server, verifying(server.url) as v:
        assert await v.user(signed_by("a")) == "1"
        server.status = 500
        await v.cannot_tell(signed_by("new"))
        assert await v.user(signed_by("a")) == "1"


async def test_a_set_without_any_key_takes_the_old_ones_away() -> None:
    async with publishing(listed("a")) as server, verifying(server.url) as v:
        assert await v.user(signed_by("a")) == "1"
        server.keys = []
        await v.cannot_tell(signed_by("new"))
        await v.cannot_tell(signed_by("a"))


BAD: dict[str, dict[str, Any]] = {
    "huge": {"body": b'{"keys":[],"pad":"' + b"x" * LARGEST + b'"}'},
    "deep": {"body": b'{"keys":' + b"[" * 100_000},
    "no JSON": {"body": b"<html>"},
    "no set": {"body": b'{"kid":"a"}'},
    "a list": {"body": b"[]"},
    "twice": {"body": b'{"keys":[],"keys":[]}'},
    "too many": {"body": b'{"keys":[' + b"{}," * 100 + b"{}]}"},
    "no content": {"status": 204, "body": b""},
    "elsewhere": {"status": 302, "headers": {"location": "http://127.0.0.1:1/"}},
    "compressed": {"headers": {"content-encoding": "gzip"}},
    "cut off": {"headers": {"content-length": "1000000"}, "body": b'{"keys":['},
}


@pytest.mark.parametrize("how", BAD.values(), ids=BAD.keys())
async def test_a_bad_answer_is_none(how: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("web.auth.jwks.PATIENCE", 0.5)
    async with publishing(listed("a")) as server, verifying(server.url) as v:
        assert await v.user(signed_by("a")) == "1"
        for name, value in how.items():
            setattr(server, name, value)
        await v.cannot_tell(signed_by("b"))
        assert await v.user(signed_by("a")) == "1"


async def test_a_server_that_hangs_holds_nobody_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("web.auth.jwks.PATIENCE", 0.2)
    async with publishing(listed("a")) as server:
        server.open.clear()
        async with verifying(server.url) as v:
            await v.cannot_tell(signed_by("a"))


async def test_nobody_waits_for_keys_that_nobody_fetches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("web.auth.jwks.PATIENCE", -0.9)
    await Verifying("http://127.0.0.1:1/").cannot_tell(signed_by("a"))


async def test_the_server_is_known_by_its_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context, certificate = own_certificate(tmp_path)
    async with publishing(listed("a"), tls=context) as server:
        async with verifying(server.url) as v:
            await v.cannot_tell(signed_by("a"))
        assert server.fetches == 0
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        async with verifying(server.url) as v:
            assert await v.user(signed_by("a")) == "1"


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
async def test_no_proxy_is_asked_for_keys_of_this_machine(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It could answer with keys of its own, for http has no certificate."""
    for exemption in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(exemption, raising=False)
    async with publishing(listed("a")) as server, publishing(listed("a", "EdDSA")) as proxy:
        monkeypatch.setenv(name, proxy.url.partition("/keys")[0])
        async with verifying(server.url) as v:
            assert await v.user(signed_by("a")) == "1"
            await v.refuses(signed_by("a", "EdDSA"), "key here is for ES256")
    assert (server.fetches, proxy.fetches) == (1, 0)


async def test_logs_say_what_happened_once_and_not_the_url() -> None:
    async with publishing(listed("a"), {"kty": "oct", "k": "hunter2"}) as server:
        with capture_logs() as logs:
            async with verifying(server.url) as v:
                await v.user(signed_by("a"))
                await v.refuses(signed_by("x"))
                server.status = 500
                for n in range(2):
                    v.clock.added += SETTLED
                    await v.cannot_tell(signed_by(f"b{n}"))
    told = [(line["event"], line["log_level"], line["host"]) for line in logs]
    assert told == [("web.jwks_fetched", "info", "127.0.0.1"), ("web.jwks_failed", "warning", "127.0.0.1")]
    assert logs[0]["passed_over"] == ["kty 'oct' with crv 'None' is not taken"]
    assert "500" in logs[1]["reason"]
    assert "hunter2" not in str(logs)


SENT = "Sun, 29 Nov 2026 20:00:00 GMT"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, Freshness(300, 3600)),
        ({"cache-control": "max-age=0, must-revalidate"}, Freshness(300, 3600)),
        ({"cache-control": "no-cache, no-store, max-age=0"}, Freshness(300, 3600)),
        ({"cache-control": "private, no-store, max-age=60"}, Freshness(48, 60)),
        ({"expires": "Sun, 29 Nov 2026 20:01:40 GMT", "date": SENT}, Freshness(80, 100)),
        ({"expires": "Sun, 29 Nov 2026 20:01:40 GMT", "date": SENT, "age": "50"}, Freshness(40, 50)),
        ({"expires": "Sun, 29 Nov 2026 20:01:40 GMT", "date": SENT, "cache-control": "max-age=50"}, Freshness(40, 50)),
        ({"expires": "Sun, 29 Nov 2026 20:01:40 GMT", "date": SENT, "cache-control": "max-age=0"}, Freshness()),
        ({"expires": "Sun, 29 Nov 2026 20:01:40 GMT"}, Freshness()),
        ({"expires": "0", "date": SENT}, Freshness()),
        ({"expires": "-1", "date": SENT}, Freshness()),
        ({"expires": "Sun, 29 Nov 2026 20:01:40", "date": SENT}, Freshness()),
        ({"expires": SENT, "date": "Sun, 29 Nov 2026 20:01:40 GMT"}, Freshness()),
        ({"expires": "Fri, 31 Dec 9999 23:59:59 GMT", "date": SENT}, Freshness()),
        ({"cache-control": "public, max-age=100"}, Freshness(80, 100)),
        ({"cache-control": "Public,MAX-AGE=100"}, Freshness(80, 100)),
        ({"cache-control": 'max-age="100"'}, Freshness(80, 100)),
        ({"cache-control": "max-age=100", "age": "90"}, Freshness(8, 10)),
        ({"cache-control": "max-age=100", "age": "900"}, Freshness(0.8, 1)),
        ({"cache-control": "max-age=100", "age": "x"}, Freshness(80, 100)),
        ({"cache-control": "max-age=15, stale-if-error=86400"}, Freshness(12, 3600)),
        ({"cache-control": "max-age=20000"}, Freshness(300, 3600)),
        ({"cache-control": "max-age=99999999999999"}, Freshness(300, 3600)),
        ({"cache-control": "max-age=-5"}, Freshness(300, 3600)),
        ({"cache-control": "s-maxage=7"}, Freshness(300, 3600)),
    ],
    ids=str,
)
def test_how_long_an_answer_is_good(headers: dict[str, str], expected: Freshness) -> None:
    assert freshness(headers) == expected


def test_an_allowance_fills_up_to_its_most() -> None:
    clock = HandClock()
    allowance = Allowance(2, 10.0, clock)
    assert [allowance.take() for _ in range(3)] == [True, True, False]
    clock.advance(9)
    assert not allowance.take()
    clock.advance(1)
    assert [allowance.take() for _ in range(2)] == [True, False]
    clock.advance(1000)
    assert [allowance.take() for _ in range(3)] == [True, True, False]
