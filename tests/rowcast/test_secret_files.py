"""Settings that hold secrets can be files; and nothing tells a secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import ConfigurationError
from rowcast.settings import SECRETS, Settings, file_of, load, variable

SECRET = "hunter2 hunter2 hunter2 hunter2 h"


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder and no setting in the environment but auth jwt."""
    monkeypatch.chdir(tmp_path)
    for field in Settings.model_fields:
        monkeypatch.delenv(f"ROWCAST_{field.upper()}", raising=False)
    monkeypatch.setenv("ROWCAST_AUTH", "jwt")
    return tmp_path


def refusal(**flags: object) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load(flags)
    told = f"{caught.value} {caught.value.__cause__} {caught.value.__context__ if not caught.value.__suppress_context__ else ''}"
    assert "hunter2" not in told
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize(
    ("content", "value"),
    [
        (SECRET, SECRET),
        (f"{SECRET}\n", SECRET),
        (f"{SECRET}\r\n", SECRET),
        (f" {SECRET}\n\n", f" {SECRET}\n"),
        ("é\n", "é"),
    ],
)
def test_a_secret_is_what_its_file_holds_without_one_newline(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: str, value: str
) -> None:
    (nowhere / "secret").write_bytes(content.encode())
    monkeypatch.setenv(variable(file_of(name)), "secret")
    settings, warnings = load()
    assert getattr(settings, name) == value
    assert warnings == []


@pytest.mark.parametrize("name", SECRETS)
def test_both_are_refused(nowhere: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (nowhere / "secret").write_text(SECRET)
    monkeypatch.setenv(variable(file_of(name)), "secret")
    (nowhere / ".env").write_text(f"{variable(name)}='{SECRET}'\n")
    sentence = refusal()
    assert variable(name) + " " in sentence
    assert variable(file_of(name)) + " " in sentence


def test_a_flag_wins_over_the_environment(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (nowhere / "secret").write_text(SECRET)
    monkeypatch.setenv("ROWCAST_JWT_KEY", "x")
    monkeypatch.setenv("ROWCAST_REDIS_URL_FILE", "gone")
    settings, _ = load({"jwt_key_file": "secret", "redis_url": "redis://x"})
    assert (settings.jwt_key, settings.redis_url) == (SECRET, "redis://x")


def test_a_file_that_cannot_be_read_is_told_without_its_name_or_content(nowhere: Path) -> None:
    """Whoever mistakes the one setting for the other writes the secret for a path."""
    (nowhere / "empty").write_text("\n")
    (nowhere / "bytes").write_bytes(b"hunter2\xff\xfe")
    for path in (SECRET, "hunter2" * 100, "postgresql://u:hunter2@h/d", ".", "empty", "bytes", "/dev/zero"):
        assert "ROWCAST_DATABASE_URL_FILE" in refusal(database_url_file=path)


def test_a_secret_that_is_no_text_is_not_told() -> None:
    assert "ROWCAST_DATABASE_URL" in refusal(database_url=["hunter2"])


def test_without_tokens_what_is_for_tokens_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = {"JWT_KEY_FILE": "gone", "JWT_LEEWAY": "soon", "JWT_KEY": "x", "JWKS_URL": "x"}
    for name, value in wrong.items():
        monkeypatch.setenv(f"ROWCAST_{name}", value)
    assert "ROWCAST_JWT_LEEWAY" in refusal()
    for auth in ("off", ""):
        monkeypatch.setenv("ROWCAST_AUTH", auth)
        assert load()[0].jwt_leeway == 5
    assert "ROWCAST_PORT" in refusal(port="x")


def test_only_what_a_command_uses_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROWCAST_DATABASE_URL_FILE", "gone")
    assert load({}, secrets=["redis_url"])[0].database_url == ""


def test_a_child_gets_the_secret_as_it_was_read(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be started anew when the file holds another one, or was a pipe."""
    (nowhere / "secret").write_text(SECRET + "\n")
    for name in SECRETS:
        monkeypatch.setenv(variable(file_of(name)), "secret")
    environment = load()[0].child_environment(redis_url="")
    (nowhere / "secret").unlink()
    for name in SECRETS:
        monkeypatch.delenv(variable(file_of(name)))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    child, _ = load()
    assert (child.database_url, child.redis_url, child.jwt_key) == (SECRET, "", SECRET)
