"""`rowcast token`: one that the web takes, and nothing else on the terminal."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from core.clock import SystemClock
from core.errors import ConfigurationError
from core.user_ids import UserIdType
from rowcast.cli import rowcast
from rowcast.settings import Settings, load
from rowcast.wiring.auth import auth_config
from tests.web.auth.minting import private_key, private_pem, public_pem
from web.auth.caller import Caller, Scope
from web.auth.tokens import make_verifier

SECRET = "a secret that nobody would guess, ever"


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, and of all settings only the secret."""
    monkeypatch.chdir(tmp_path)
    for field in Settings.model_fields:
        monkeypatch.delenv(f"ROWCAST_{field.upper()}", raising=False)
    monkeypatch.setenv("ROWCAST_JWT_KEY", SECRET)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(rowcast, ["token", *arguments])


def bearer(*arguments: str, kind: UserIdType = UserIdType.BIGINT) -> Caller:
    """Whom a web with the same settings sees."""
    made = run(*arguments)
    assert made.exit_code == 0, made.output
    assert made.stderr == ""
    verifier = make_verifier(auth_config(load({"auth": "jwt"})[0]), kind, SystemClock())
    return asyncio.run(verifier.verify(made.stdout.removesuffix("\n")))


def wrong(*arguments: str) -> str:
    made = run(*arguments)
    assert made.exit_code != 0
    assert made.stdout == ""
    assert isinstance(made.exception, SystemExit | ConfigurationError), made.exception
    said = made.stderr + str(made.exception)
    assert "nobody would guess" not in said
    return said


def test_a_token_says_who_and_for_how_long() -> None:
    before = SystemClock().time()
    caller = bearer("007", "--user-id-type", "bigint", "--ttl", "2h")
    after = SystemClock().time()
    assert caller.user_id == "7"
    assert caller.scopes == {Scope.READ, Scope.VIEW}
    assert caller.issued_at is not None
    assert caller.expires_at is not None
    assert before - 0.001 <= caller.issued_at <= after
    assert caller.issued_at % 1, "has fractions of a second"
    assert caller.expires_at == pytest.approx(caller.issued_at + 7200)
    assert caller.token_id is not None
    assert caller.token_id != bearer("7").token_id


def test_a_service_is_no_user() -> None:
    caller = bearer("--service", "--scope", "send admin", "--jti", "mine")
    assert (caller.user_id, caller.token_id) == (None, "mine")
    assert caller.scopes == {Scope.SEND, Scope.ADMIN}


def test_user_ids_of_any_type() -> None:
    assert bearer("ann", kind=UserIdType.TEXT).user_id == "ann"
    assert bearer("--", "-5").user_id == "-5"
    assert "64 bits" in wrong("ann", "--user-id-type", "bigint")
    assert "at least one character" in wrong("")


def test_it_fits_the_issuer_audience_and_claim_of_the_web(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROWCAST_JWT_ISSUER", "me")
    monkeypatch.setenv("ROWCAST_JWT_AUDIENCE", "rowcast")
    monkeypatch.setenv("ROWCAST_JWT_USER_CLAIM", "uid")
    assert bearer("7").user_id == "7"


def test_the_secret_may_be_in_a_file(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (nowhere / "key").write_text(SECRET + "\n")
    monkeypatch.delenv("ROWCAST_JWT_KEY")
    monkeypatch.setenv("ROWCAST_JWT_KEY_FILE", "key")
    assert bearer("7").user_id == "7"


def test_what_is_wrong_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "USER" in wrong()
    assert "USER" in wrong("1", "--service")
    assert "read view send admin" in wrong("1", "--scope", "read everything")
    assert "--ttl" in wrong("1", "--ttl", "soon")
    monkeypatch.setenv("ROWCAST_JWT_KEY", "nobody would guess")
    assert "at least 32" in wrong("1")
    monkeypatch.setenv("ROWCAST_JWT_KEY", public_pem(private_key("ES256")))
    assert "can't make any" in wrong("1")
    monkeypatch.setenv("ROWCAST_JWT_KEY", private_pem(private_key("ES256")))
    assert "private key" in wrong("1")
    monkeypatch.delenv("ROWCAST_JWT_KEY")
    assert "is not set" in wrong("1")


def test_a_jwks_makes_no_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROWCAST_JWT_KEY")
    monkeypatch.setenv("ROWCAST_JWKS_URL", "https://x/")
    assert "Whoever publishes it" in wrong("1")


def needs(**flags: object) -> str:
    with pytest.raises(ConfigurationError) as caught:
        auth_config(load({"auth": "jwt", "jwt_key": "", **flags})[0])
    return str(caught.value)


def test_tokens_are_checked_with_exactly_one_thing() -> None:
    assert "openssl rand" in needs()
    assert "both set" in needs(jwt_key=SECRET, jwks_url="https://x/")
    assert "at least 32" in needs(jwt_key="short")
    assert "private key" in needs(jwt_key=private_pem(private_key("EdDSA")))


@pytest.mark.parametrize(
    "url", ["https://a/keys", "https://a:1/", "http://127.0.0.1:1/", "http://[::1]/", "http://localhost/"]
)
def test_keys_come_over_a_safe_way(url: str) -> None:
    assert auth_config(load({"auth": "jwt", "jwt_key": "", "jwks_url": url})[0]).jwks_url == url


@pytest.mark.parametrize(
    "url",
    [
        "http://a/",
        "http://127.0.0.1.nip.io/",
        "http://localhost.a/",
        "file:///etc/passwd",
        "https://",
        "a",
        "https://[x",
        "https://a:x/",
    ],
)
def test_keys_come_over_no_other(url: str) -> None:
    assert "https://" in needs(jwks_url=url)
