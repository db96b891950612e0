"""No secret in any log: those of all processes that tests start are read, and a hit fails the run, also with xdist.

`look` is called with each whole log by whoever kept it (`tests/rig.py`, `tests/rowcast/ups.py`); what processes wrote to a test's own
stderr is found in its report. `tests/conftest.py` takes the hooks from here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

import pytest

SHORTEST = 8  # characters of a password that is nobody's word
LONG = 10  # and of a body
_PASSWORDS = re.compile(r"://[^\s:/@]*:([^\s@]+)@|\bpassword='?([^\s']+)")
_LOOKS_SECRET = re.compile(
    r"(?<![A-Za-z0-9])eyJ[\w-]+\.[\w-]+\.[\w-]*"  # a token
    r"|\bBearer [^\s*\"']{8}"
    r"|__Host-rowcast=[^*;\s]"
    r"|://[^\s:/@\"]*:(?!\*\*\*@|password@)[^\s:/@\"]+@"  # an address with its password
)

hits: list[str] = []
bodies: set[str] = set()


def private(*texts: str) -> None:
    """These were inserted as notifications: no log of any process may have them from level info up."""
    bodies.update(text for text in texts if len(text) >= LONG)


def look(log: str, environment: Mapping[str, str], who: str) -> None:
    """Read a process's log; what is wrong with it is told at the end of the run."""
    hits.extend(f"{who}: {wrong}" for wrong in found(log, secrets_of(environment)))


def secrets_of(environment: Mapping[str, str]) -> set[str]:
    """The passwords and keys in a process's settings, as they are written there and as they are."""
    secrets = {environment.get("ROWCAST_JWT_KEY", "")}
    for name in ("ROWCAST_DATABASE_URL", "ROWCAST_REDIS_URL"):
        for groups in _PASSWORDS.findall(environment.get(name, "")):
            secrets |= {one for group in groups for one in (group, unquote(group))}
    return {secret for secret in secrets if len(secret) >= SHORTEST and "PUBLIC KEY" not in secret}


def found(log: str, secrets: set[str]) -> Iterator[str]:
    """What is wrong, a sentence for each line."""
    for line in log.splitlines():
        if any(secret in line for secret in secrets):
            yield f"a password or key of the settings in {line[:500]}"
        elif _LOOKS_SECRET.search(line):
            yield f"what looks like a secret in {line[:500]}"
        elif _tells(line) and any(body in line for body in bodies):
            yield f"a notification's text in {line[:500]}"


def events(text: str) -> str:
    """The lines of it that are events of a log, as JSON."""
    return "\n".join(line for line in text.splitlines() if _event(line))


def _tells(line: str) -> bool:
    event = _event(line)
    return event is None or event.get("level") != "debug"


def _event(line: str) -> dict[str, Any] | None:
    if not line.startswith("{"):
        return None
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and "event" in event and "level" in event else None


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    hits.extend(f"{report.nodeid}: {wrong}" for wrong in found(events(report.capstderr), set()))


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """An xdist worker has ended: take over what it saw."""
    hits.extend(getattr(node, "workeroutput", {}).get("leaks", []))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["leaks"] = list(hits)
    elif hits:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if hits:
        terminalreporter.section("secrets in logs", red=True)
        for hit in dict.fromkeys(hits):
            terminalreporter.line(hit)
