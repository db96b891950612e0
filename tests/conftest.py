"""Servers and a running Rowcast for all tests: one of each for the whole run, and databases and processes of its own for who needs them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from itertools import count

import httpx
import pytest

from rowcast.embedded import Server
from tests import leaks, parts
from tests.db.databases import Databases
from tests.leaks import pytest_runtest_logreport, pytest_sessionfinish, pytest_testnodedown
from tests.parts import ROOT, SERVER
from tests.rig import UNCAPPED, Rig, free_port, rig
from tests.servers import embedded_postgres, embedded_valkey

__all__ = ["pytest_runtest_logreport", "pytest_sessionfinish", "pytest_testnodedown"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What else is to be told at the end of a run."""
    parts.pytest_terminal_summary(terminalreporter)
    leaks.pytest_terminal_summary(terminalreporter)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """One Postgres, able to replicate logically."""
    with embedded_postgres(settings={"wal_level": "logical"}) as server:
        yield server


@pytest.fixture(scope="session")
def valkey() -> Iterator[Server]:
    """One Valkey."""
    with embedded_valkey() as server:
        yield server


@pytest.fixture(scope="session")
def databases(postgres: Server) -> Databases:
    """Makes databases on the one Postgres."""
    return Databases(postgres.url)


@pytest.fixture(scope="session")
def database_url(databases: Databases) -> Iterator[str]:
    """The database of the one running Rowcast."""
    with databases.migrated() as url:
        yield url


@pytest.fixture(scope="session")
def web_url(database_url: str, valkey: Server) -> Iterator[str]:
    """One running Rowcast, a bridge and a web process, for tests that break nothing."""
    url = f"http://127.0.0.1:{free_port()}"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ROWCAST_", "PG"))}
    environment = kept | {
        "ROWCAST_DATABASE_URL": database_url,
        "ROWCAST_REDIS_URL": valkey.url,
        "ROWCAST_SERVER": SERVER,
        **{f"ROWCAST_{name.upper()}": cap for name, cap in UNCAPPED.items()},
    }
    commands = (["bridge"], ["web", "--auth", "off", "--bind", url.removeprefix("http://")])
    processes = [
        subprocess.Popen([sys.executable, "-m", "rowcast", *command], env=environment, cwd=ROOT) for command in commands
    ]
    try:
        wait_until_ready(url, processes)
        yield url
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            process.wait(10)


def wait_until_ready(url: str, processes: list[subprocess.Popen[bytes]]) -> None:
    """Wait for the web at `url`; fails as soon as one of these has ended."""
    transport = httpx.HTTPTransport(retries=5)
    with httpx.Client(transport=transport, trust_env=False) as http:
        for _ in range(200):
            assert all(process.poll() is None for process in processes), "bridge or web ended at start"
            with suppress(httpx.TransportError):
                if http.get(f"{url}/readyz").status_code == httpx.codes.OK:
                    return
            with suppress(subprocess.TimeoutExpired):
                processes[0].wait(0.05)
    raise AssertionError("Rowcast did not become ready")


_users = count(1_000)


@pytest.fixture
def user() -> int:
    """A user id no other test has."""
    return next(_users)


@pytest.fixture
def users() -> Callable[[], int]:
    """Makes user ids no other test has."""
    return lambda: next(_users)


@pytest.fixture
def stream_url(web_url: str, user: int) -> str:
    """A stream of `user` from now on: rows for everyone that other tests inserted do not show."""
    return f"{web_url}/events/{user}?since=now"


@pytest.fixture
async def own(databases: Databases, valkey: Server) -> AsyncIterator[Rig]:
    """A database and a channel prefix of the test's own, for processes that it starts and breaks."""
    with databases.migrated() as url:
        async with rig(url, valkey.url, prefix=f"t{uuid.uuid4().hex[:8]}", retry="0.1") as made:
            yield made
