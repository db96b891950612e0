"""`rowcast web` as processes: addresses, workers, and how they end."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from rowcast.embedded import Server
from tests.rowcast.ups import environment, eventually, gone


class Web:
    """A `rowcast web`, and what it logs."""

    def __init__(self, cwd: Path, log: Path, *arguments: str, **env: str) -> None:
        self.log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "rowcast", "web", "--auth", "off", "--log-format", "json", *arguments],
                stderr=output,
                cwd=cwd,
                env=environment(**env),
                start_new_session=True,
            )

    def logged(self, event: str) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
            return next((line for line in lines if line["event"] == event), None)

        found: dict[str, Any] = eventually(look, within=60)
        return found

    @property
    def workers(self) -> list[psutil.Process]:
        children = psutil.Process(self.process.pid).children()
        return [child for child in children if "fd://" in " ".join(child.cmdline())]

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(10)


@pytest.fixture
def web(tmp_path: Path, database_url: str, valkey: Server) -> Iterator[Callable[..., Web]]:
    """Starts web processes on the shared servers; they are ended with the test."""
    with ExitStack() as ends:
        names = iter(range(100))

        def start(*arguments: str) -> Web:
            servers = {"ROWCAST_DATABASE_URL": database_url, "ROWCAST_REDIS_URL": valkey.url}
            started = Web(tmp_path, tmp_path / f"log{next(names)}", *arguments, **servers)
            ends.enter_context(ended(started))
            return started

        yield start


@contextmanager
def ended(started: Web) -> Iterator[None]:
    try:
        yield
    finally:
        if started.process.poll() is None:
            started.end(signal.SIGKILL)


def alive(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", trust_env=False, timeout=5).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bind", "server"),
    [("127.0.0.1:0", "hypercorn"), ("[::1]:0", "hypercorn"), ("localhost:0", "hypercorn"), ("localhost:0", "uvicorn")],
)
def test_the_address_it_really_has_is_logged_and_answers(web: Callable[..., Web], bind: str, server: str) -> None:
    started = web("--bind", bind, "--server", server)
    address = started.logged("web.listening")["address"]
    eventually(lambda: alive(address), within=60)
    assert started.end(signal.SIGTERM) == 0, started.log.read_text()


def test_told_to_stop_while_it_starts_it_ends_cleanly(web: Callable[..., Web]) -> None:
    """What it needs for serving takes a while to load after the address is bound."""
    started = web("--bind", "127.0.0.1:0")
    started.logged("web.listening")
    assert started.end(signal.SIGTERM) == 0, started.log.read_text()


def test_insecure_allows_other_machines_in(web: Callable[..., Web]) -> None:
    started = web("--bind", "0.0.0.0:0", "--insecure")
    address = started.logged("web.listening")["address"]
    eventually(lambda: alive(address.replace("0.0.0.0", "127.0.0.1")), within=60)
    assert started.end(signal.SIGINT) == 0


@pytest.mark.slow
@pytest.mark.parametrize("server", ["hypercorn", "uvicorn"])
def test_workers_share_a_port_are_replaced_and_end_with_their_parent(web: Callable[..., Web], server: str) -> None:
    started = web("--bind", "127.0.0.1:0", "--workers", "2", "--server", server)
    address = started.logged("web.listening")["address"]
    first = eventually(lambda: workers if len(workers := started.workers) == 2 else None)
    eventually(lambda: alive(address), within=60)
    groups = {psutil.Process(worker.pid).parent() for worker in first}
    assert groups == {psutil.Process(started.process.pid)}

    first[0].kill()
    started.logged("web.worker_ended")
    second = eventually(lambda: workers if len(workers := started.workers) == 2 and workers != first else None)
    eventually(lambda: alive(address), within=60)

    assert started.end(signal.SIGTERM) == 0, started.log.read_text()
    assert gone(second, within=1)


def test_no_worker_outlives_a_parent_that_was_killed(web: Callable[..., Web]) -> None:
    started = web("--bind", "127.0.0.1:0", "--workers", "2")
    eventually(lambda: len(started.workers) == 2, within=60)
    everything = psutil.Process(started.process.pid).children(recursive=True)
    started.end(signal.SIGKILL)
    assert gone(everything)
