"""Settings: where they come from, which wins, and what a wrong one says."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from core.errors import ConfigurationError
from core.user_ids import UserIdType
from rowcast.settings import Settings, load, require_auth


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder and no setting in the environment."""
    monkeypatch.chdir(tmp_path)
    for field in Settings.model_fields:
        monkeypatch.delenv(f"ROWCAST_{field.upper()}", raising=False)
    return tmp_path


def test_a_flag_wins_over_the_environment_and_that_over_the_file(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load()[0].port == 8000
    (nowhere / ".env").write_text("ROWCAST_PORT=1\nROWCAST_WORKERS=3\nOTHER=x\n")
    assert load()[0].port == 1
    monkeypatch.setenv("ROWCAST_PORT", "2")
    assert load()[0].port == 2
    assert load({"port": "3", "bind": None})[0].port == 3
    assert load()[0].workers == 3


def test_an_empty_variable_counts_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROWCAST_PORT", "")
    monkeypatch.setenv("ROWCAST_READY_FILE", "")
    assert (load()[0].port, load()[0].ready_file) == (8000, None)


def test_values_are_read_in_their_units() -> None:
    flags = {"body_bytes": "3MiB", "heartbeat": "0.5", "user_id_type": "uuid", "data_dir": "~/x", "insecure": True}
    settings, _ = load(flags)
    assert settings.body_bytes == 3 * 2**20
    assert settings.heartbeat == 0.5
    assert settings.user_id_type is UserIdType.UUID
    assert settings.insecure is True
    assert settings.data_dir == Path("~/x")


@pytest.mark.parametrize(
    ("name", "value", "bound"),
    [
        ("port", "65536", "65535"),
        ("port", "eighty", "integer"),
        ("workers", "0", "1"),
        ("heartbeat", "-1", "0.05"),
        ("poll_interval", "3600", "60"),
        ("auth", "maybe", "'off' or 'jwt'"),
        ("log_level", "loud", "'debug'"),
        ("user_id_type", "int", "'bigint', 'uuid' or 'text'"),
        ("redis_prefix", "a b", "pattern"),
        ("buckets", "99999", "16384"),
    ],
)
def test_a_wrong_one_is_named_with_its_bound_and_what_came(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, bound: str
) -> None:
    monkeypatch.setenv(f"ROWCAST_{name.upper()}", value)
    with pytest.raises(ConfigurationError) as raised:
        load()
    sentence = str(raised.value)
    assert f"ROWCAST_{name.upper()}" in sentence
    assert bound in sentence
    assert value in sentence
    assert "\n" not in sentence


def test_all_wrong_ones_are_told_at_once() -> None:
    with pytest.raises(ConfigurationError, match=r"PORT.*WORKERS"):
        load({"port": "x", "workers": "y"})


def test_an_unknown_name_is_warned_of_with_the_nearest(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROWCAST_DATABSE_URL", "x")
    (nowhere / ".env").write_text("ROWCAST_PROT=1\nROWCAST_QQQQQ=2\n")
    _, warnings = load()
    assert warnings == [
        "ROWCAST_DATABSE_URL is no setting of Rowcast. Did you mean ROWCAST_DATABASE_URL?",
        "ROWCAST_PROT is no setting of Rowcast. Did you mean ROWCAST_PORT?",
        "ROWCAST_QQQQQ is no setting of Rowcast.",
    ]


def test_settings_never_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load()[0].port = 1


def test_what_is_needed_and_missing_is_told_with_an_example() -> None:
    with pytest.raises(ConfigurationError, match=r"ROWCAST_REDIS_URL \(or --redis-url\).*redis://"):
        load({"database_url": "postgresql://x"})[0].need("database_url", "redis_url")


def test_auth_must_be_said() -> None:
    with pytest.raises(ConfigurationError, match=r"ROWCAST_AUTH.*must be said"):
        require_auth(load()[0])
    require_auth(load({"auth": "jwt"})[0])
    require_auth(load({"auth": "off"})[0])


def test_a_settings_file_that_was_asked_for_must_be_there(nowhere: Path) -> None:
    (nowhere / "mine").write_text("ROWCAST_PORT=4\n")
    assert load({"env_file": "mine"})[0].port == 4
    with pytest.raises(ConfigurationError, match=r"ROWCAST_ENV_FILE.*'gone'"):
        load({"env_file": "gone"})


def test_a_child_gets_exactly_these_settings(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROWCAST_TYPO", "x")
    monkeypatch.setenv("ROWCAST_WORKERS", "7")
    settings, _ = load({"insecure": True, "body_bytes": "1KiB", "auth": "off"})
    environment = settings.child_environment(workers=1)
    (nowhere / ".env").write_text("ROWCAST_HEARTBEAT=99\n")
    monkeypatch.delenv("ROWCAST_TYPO")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    child, warnings = load()
    assert child == settings.model_copy(update={"workers": 1, "env_file": child.env_file})
    assert warnings == []
    assert "ROWCAST_TYPO" not in environment
