"""The parts of a machine that some tests need and that no Python package brings: a browser, another Python.

A test says `require("chromium")` and gets the path. Where the part is missing the test is skipped and one line at the end of the run says what was
not run and how to get it; with CI set a missing part is a failure. `tests/conftest.py` calls `pytest_terminal_summary`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).resolve().parent.parent
# Debian keeps servers in /usr/sbin, which is not on everyone's PATH.
_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"])


@dataclass(frozen=True, slots=True)
class Part:
    """A program that some tests need: the names it goes by, and how to get it."""

    programs: tuple[str, ...]
    get: str


PARTS = {
    "chromium": Part(
        ("chromium", "chromium-browser", "google-chrome"), "install Chromium (Debian: apt-get install chromium)"
    ),
    "node": Part(("node", "nodejs"), "install Node.js 20 or newer (Debian: apt-get install nodejs)"),
    "npm": Part(("npm",), "install npm (Debian: apt-get install npm)"),
    "pgbouncer": Part(("pgbouncer",), "install PgBouncer (Debian: apt-get install pgbouncer)"),
    "faketime": Part(("faketime",), "install libfaketime (Debian: apt-get install faketime)"),
    "nginx": Part(("nginx",), "install nginx (Debian: apt-get install nginx-light)"),
    "haproxy": Part(("haproxy",), "install HAProxy (Debian: apt-get install haproxy)"),
    "prlimit": Part(("prlimit",), "use Linux, where it is part of util-linux"),
}

# Which server the tests' web processes use: `TEST_SERVER=uvicorn make test`.
SERVER = os.environ.get("TEST_SERVER", "hypercorn")

_missing: Counter[str] = Counter()


def _leave_out(reason: str) -> NoReturn:
    _missing[reason] += 1
    pytest.skip(reason)


def missing(reason: str) -> NoReturn:
    """End this test: skipped with one line at the end of the run, or failed where CI promises that nothing is left out."""
    if os.environ.get("CI"):
        pytest.fail(f"CI is set, so nothing may be left out, but this was: {reason}", pytrace=False)
    _leave_out(reason)


def not_permitted(reason: str) -> NoReturn:
    """End this test, with one line at the end of the run: no package brings a right that the machine doesn't give.

    Only where another test tries the same by other means.
    """
    _leave_out(reason)


def require(name: str) -> Path:
    """The path of that part; without it the test ends as `missing` says."""
    part = PARTS[name]
    found = next((path for program in part.programs if (path := shutil.which(program, path=_PATH))), None)
    if found is None:
        missing(f"no {name} here: {part.get}")
    return Path(found)


@cache
def _venv313() -> tuple[Path | None, str]:
    made = subprocess.run(["make", "--silent", "venv313"], cwd=ROOT, capture_output=True, text=True, check=False)
    return (ROOT / ".venv-3.13" if made.returncode == 0 else None), made.stderr.strip()


def python313_venv() -> Path:
    """A virtual environment with Rowcast on Python 3.13 (its commands in `bin/`), made at first use: half a minute, then at once."""
    if sys.version_info[:2] == (3, 13):
        return Path(sys.prefix)
    venv, why = _venv313()
    if venv is None:
        missing(f"no environment with Python 3.13: {why.splitlines()[0] if why else 'make venv313 failed'}")
    return venv


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line for each part that was missing: what was not run, and how to get it."""
    if _missing:
        terminalreporter.section("not run")
        for reason, times in sorted(_missing.items()):
            terminalreporter.line(f"{times} test{'s' * (times > 1)}: {reason}")
