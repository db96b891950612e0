"""The search for secrets in logs finds them, and a hit fails the run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests import leaks
from tests.parts import ROOT

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"
SETTINGS = {
    "ROWCAST_DATABASE_URL": "host=h user=u password=from-the-string dbname=d",
    "ROWCAST_REDIS_URL": "redis://:from%2Dthe%2Durl@h:1/0",
    "ROWCAST_JWT_KEY": "correct horse battery staple",
}


@pytest.mark.parametrize(
    "line",
    [
        "no JSON, but with from-the-string in it",
        '{"event": "a", "level": "debug", "reason": "from-the-url"}',
        '{"event": "a", "level": "info", "reason": "from%2Dthe%2Durl"}',
        '{"event": "a", "level": "info", "key": "correct horse battery staple"}',
        f'{{"event": "a", "level": "info", "x": "{TOKEN}"}}',
        '{"event": "a", "level": "info", "x": "Bearer abcdefgh"}',
        '{"event": "a", "level": "info", "x": "__Host-rowcast=a"}',
        '{"event": "a", "level": "info", "x": "postgresql://u:p@h/d"}',
        '{"event": "a", "level": "info", "x": "a text that is private"}',
    ],
)
def test_it_is_found(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaks, "bodies", {"a text that is private"})
    assert len(list(leaks.found(f"before\n{line}\nafter", leaks.secrets_of(SETTINGS)))) == 1


@pytest.mark.parametrize(
    "line",
    [
        '{"event": "a", "level": "info", "x": "redis://:***@h Bearer *** __Host-rowcast=***"}',
        '{"event": "a", "level": "debug", "x": "a text that is private"}',
        '{"event": "web.listening", "level": "info", "address": "http://127.0.0.1:8000"}',
    ],
)
def test_what_is_hidden_or_harmless_is_no_hit(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaks, "bodies", {"a text that is private"})
    assert list(leaks.found(line, leaks.secrets_of(SETTINGS))) == []


TESTS = """
import sys
from tests import leaks

def test_a_log_that_was_kept():
    leaks.look('{"event": "a", "level": "info", "reason": "hunter2-hunter2"}', {"ROWCAST_REDIS_URL": "redis://:hunter2-hunter2@h"}, "web")

def test_a_process_that_wrote_to_our_stderr():
    print('{"event": "a", "level": "info", "reason": "Bearer abcdefgh"}', file=sys.stderr)
"""


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["-n", "1"]])
def test_a_hit_fails_the_run(tmp_path: Path, options: list[str]) -> None:
    file = tmp_path / "test_them.py"
    file.write_text(TESTS)
    command = [
        sys.executable,
        "-m",
        "pytest",
        str(file),
        "-p",
        "tests.leaks",
        "-p",
        "no:cacheprovider",
        "-c",
        "/dev/null",
    ]
    run = subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 1, run.stdout + run.stderr
    assert "2 passed" in run.stdout
    assert "hunter2-hunter2" in run.stdout
    assert "Bearer abcdefgh" in run.stdout
