"""The command line: quick help, honest refusals, the promised exit status."""

from __future__ import annotations

import importlib
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
import structlog
from click.testing import CliRunner

from rowcast.cli import COMMANDS, main, rowcast
from rowcast.settings import Settings
from rowcast.workers import WORKER
from tests.rowcast.ups import environment


@dataclass
class Done:
    """How a call of the command line ended."""

    status: int
    out: str
    err: str


Run = Callable[..., Done]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Call the command line in an empty folder, in this process; what it does to logging is undone."""
    root = logging.getLogger()
    before = root.handlers[:], root.level, structlog.get_config()
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("ROWCAST_")]:
        monkeypatch.delenv(name)

    def call(*arguments: str) -> Done:
        monkeypatch.setattr("sys.argv", ["rowcast", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return Done(int(ended.value.code or 0), captured.out, captured.err)

    yield call
    root.handlers[:], root.level = before[:2]
    structlog.configure(**before[2])


def command(name: str) -> click.Command:
    found = importlib.import_module(f"rowcast.commands.{name}").command
    assert isinstance(found, click.Command)
    return found


def test_help_imports_no_part_of_rowcast_that_works() -> None:
    """Which is what keeps it under 250 ms."""
    code = "import sys; from rowcast.cli import rowcast; rowcast(['--help'], standalone_mode=False); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=True)
    loaded = set(done.stderr.split())
    assert not loaded & {"pydantic", "asyncio", "psycopg", "redis", "quart", "structlog", "httpx", "rowcast.settings"}
    for name in COMMANDS:
        assert name in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_says_what_it_does_in_the_same_words_everywhere(name: str) -> None:
    assert (command(name).help or "").startswith(COMMANDS[name])
    text = CliRunner().invoke(rowcast, [name, "--help"], terminal_width=100).output
    assert "Examples:" in text or "Example:" in text
    assert f"rowcast {name}" in text


@pytest.mark.parametrize("name", COMMANDS)
def test_each_flag_of_a_setting_has_its_name_and_tells_the_variable(name: str) -> None:
    for option in command(name).params:
        if isinstance(option, click.Option) and option.name in Settings.model_fields:
            assert option.opts == ["--" + option.name.replace("_", "-")]
            assert f"ROWCAST_{option.name.upper()}" in (option.help or "")


def test_every_setting_is_a_flag_of_some_command() -> None:
    flags = {option.name for name in COMMANDS for option in command(name).params}
    assert set(Settings.model_fields) <= flags


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["nonsense"], 2, ["nonsense"]),
        (["web", "--nonsense"], 2, ["--nonsense"]),
        (["up", "--port", "99999"], 2, ["ROWCAST_PORT", "65535", "99999"]),
        (["up", "--auth", "jwt", "--jwt-key", "short"], 2, ["ROWCAST_JWT_KEY", "32"]),
        (["send", "1", "x", "--url", "http://127.0.0.1:1", "--token", "a b"], 2, ["ROWCAST_TOKEN", "no token"]),
        (["migrate"], 2, ["ROWCAST_DATABASE_URL"]),
        (["bridge", "--database-url", "postgresql://x"], 2, ["ROWCAST_REDIS_URL"]),
        (
            ["bridge", "--database-url", "postgresql://x", "--redis-url", "http://x"],
            2,
            ["ROWCAST_REDIS_URL", "redis://"],
        ),
        (["up", "--redis-url", "http://x"], 2, ["ROWCAST_REDIS_URL", "redis://"]),
        (["web"], 2, ["ROWCAST_AUTH", "jwt", "off"]),
        (["web", "--auth", "jwt"], 2, ["ROWCAST_JWT_KEY", "ROWCAST_JWKS_URL"]),
        (["web", "--auth", "off", "--cors-origins", "*"], 2, ["ROWCAST_CORS_ORIGINS", "one by one"]),
        (["web", "--auth", "off", "--cors-origins", "https://a/b"], 2, ["ROWCAST_CORS_ORIGINS", "without a path"]),
        (["web", "--auth", "off"], 2, ["ROWCAST_DATABASE_URL"]),
        (["web", "--auth", "off", "--bind", "0.0.0.0:0"], 2, ["--insecure", "ROWCAST_AUTH=jwt"]),
        (["web", "--auth", "off", "--bind", "[::]:0"], 2, ["--insecure", "ROWCAST_AUTH=jwt"]),
        (["web", "--auth", "off", "--bind", "somewhere"], 2, ["ROWCAST_BIND", "somewhere"]),
        (["send", "1"], 2, ["MESSAGE"]),
        (["send", "1", "x", "--everyone"], 2, ["--everyone"]),
        (["send", "1", "x", "--data", "{"], 2, ["--data"]),
        (["send", "1", "x"], 1, ["rowcast up", "--url"]),
        (["tail", "1"], 1, ["rowcast up", "--url"]),
        (["tail", "1", "--url", "localhost:1"], 2, ["ROWCAST_URL", "http://"]),
        (["send", "1", "x", "--url", "http://127.0.0.1:1"], 1, ["http://127.0.0.1:1"]),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_the_right_status(
    arguments: list[str], status: int, words: list[str], run: Run, tmp_path: Path
) -> None:
    done = run(*arguments)
    assert done.status == status, done.err
    assert done.out == ""
    for word in words:
        assert word in done.err
    assert list(tmp_path.iterdir()) == [], "nothing was left behind"


def test_an_unknown_setting_is_warned_of_and_no_more(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROWCAST_DATABSE_URL", "x")
    assert "ROWCAST_DATABSE_URL is no setting of Rowcast. Did you mean ROWCAST_DATABASE_URL?" in run("migrate").err


def test_folders_of_the_user_stand_in_for_none_of_ours(tmp_path: Path) -> None:
    """`up` and `web` start more of us from wherever they are called."""
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "__init__.py").write_text("raise SystemExit('the wrong one')\n")
    done = subprocess.run(
        [*WORKER, "web"], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
    )
    assert "ROWCAST_AUTH" in done.stderr
