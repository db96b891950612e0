"""A Rowcast of the tests' own: real bridge and web processes over servers from the wheels, to be killed, frozen and restarted."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg

from tests import leaks
from tests.parts import ROOT, SERVER

READY = 30.0
# All clients of a test come from one address, and many of them are one user.
UNCAPPED = {"requests_per_address": "0", "streams_per_address": "0", "streams_per_user": "0"}


# Below those that systems give to outgoing connections, one of which would take the port of a server that is down for a moment.
_PORTS = range(10_000, 32_000)
_given: set[int] = set()


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    while True:
        port = secrets.choice(_PORTS)
        if port in _given:
            continue
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            _given.add(port)
            return port


@dataclass
class Process:
    """One `rowcast` process. Its log is kept in `log`, for `logged` and for whoever reads a failed test."""

    arguments: list[str]
    environment: dict[str, str]
    python: Path = Path(sys.executable)
    root: Path = ROOT
    fds: tuple[int, ...] = ()  # descriptors of ours that it inherits
    log: str = ""
    process: asyncio.subprocess.Process | None = None
    _reader: asyncio.Task[None] | None = None
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            str(self.python),
            *("-m", "rowcast", *self.arguments),
            env=self.environment,
            cwd=self.root,
            stderr=asyncio.subprocess.PIPE,
            pass_fds=self.fds,
        )
        self._reader = asyncio.get_running_loop().create_task(self._read(self.process), name="log reader")

    async def logged(self, text: str, *, timeout: float = READY) -> None:
        """Wait until the log has `text`."""
        try:
            async with asyncio.timeout(timeout), self._changed:
                await self._changed.wait_for(lambda: text in self.log)
        except TimeoutError:
            raise AssertionError(f"{self.arguments} never logged {text!r}; its log:\n{self.log}") from None

    async def changed(self) -> None:
        """Wait for the next line of the log."""
        async with self._changed:
            await self._changed.wait()

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    async def ended(self, *, timeout: float = 10) -> int:
        """Wait for its end; the exit status."""
        assert self.process is not None
        async with asyncio.timeout(timeout):
            status = await self.process.wait()
        if self._reader:
            await self._reader
        return status

    async def kill(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.send(signal.SIGKILL)
            await self.ended()

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        async for line in process.stderr:
            async with self._changed:
                self.log += line.decode("utf-8", "replace")
                self._changed.notify_all()
        leaks.look(self.log, self.environment, " ".join(self.arguments))


@dataclass
class Rig:
    """Where the parts are, and the processes that were started."""

    database_url: str
    redis_url: str
    prefix: str = "rowcast"
    settings: dict[str, str] = field(default_factory=dict)
    processes: list[Process] = field(default_factory=list)
    root: Path = ROOT  # the checkout whose code runs
    environment: dict[str, str] = field(default_factory=dict)  # what is none of Rowcast's settings

    async def migrate(self) -> None:
        """Prepare an empty database, as the code that runs here wants it."""
        process = await self._start(["migrate"], {})
        assert await process.ended(timeout=READY) == 0, process.log

    async def bridge(self, *arguments: str, **settings: str) -> Process:
        """Start a bridge; it may lead or follow."""
        return await self._start(["bridge", *arguments], settings)

    async def web(
        self, *arguments: str, port: int | None = None, python: Path | None = None, **settings: str
    ) -> tuple[str, Process]:
        """Start a web process, on a free port if none is named, ready to serve; its URL."""
        url, started = await self.web_unready(*arguments, port=port, python=python, **settings)
        await ready(url, started)
        return url, started

    async def web_unready(
        self, *arguments: str, port: int | None = None, python: Path | None = None, **settings: str
    ) -> tuple[str, Process]:
        """The same without waiting."""
        port = port or free_port()
        started = await self._start(
            ["web", "--auth", "off", "--bind", f"127.0.0.1:{port}", *arguments], settings, python
        )
        return f"http://127.0.0.1:{port}", started

    async def command(self, *arguments: str, fds: tuple[int, ...] = (), **settings: str) -> Process:
        """Start any other command of ours. `fds`: descriptors that it inherits."""
        return await self._start([*arguments], settings, fds=fds)

    @asynccontextmanager
    async def sql(self) -> AsyncIterator[psycopg.AsyncConnection[tuple[Any, ...]]]:
        """A superuser's session in autocommit."""
        async with await psycopg.AsyncConnection.connect(self.database_url, autocommit=True) as session:
            yield session

    async def insert(self, user_id: object, *messages: str) -> None:
        """One row and one transaction for each message."""
        leaks.private(*messages)
        async with self.sql() as session:
            for message in messages:
                await session.execute(
                    "INSERT INTO notifications (user_id, message) VALUES (%s, %s)", (user_id, message)
                )

    async def _start(
        self,
        arguments: list[str],
        settings: dict[str, str],
        python: Path | None = None,
        fds: tuple[int, ...] = (),
    ) -> Process:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ROWCAST_", "PG"))}
        environment = (
            kept
            | self.environment
            | {
                "ROWCAST_DATABASE_URL": self.database_url,
                "ROWCAST_REDIS_URL": self.redis_url,
                "ROWCAST_REDIS_PREFIX": self.prefix,
                "ROWCAST_LOG_FORMAT": "json",
                "ROWCAST_SERVER": SERVER,
                **{f"ROWCAST_{name.upper()}": value for name, value in (UNCAPPED | self.settings | settings).items()},
            }
        )
        process = Process(arguments, environment, python or Path(sys.executable), self.root, fds)
        await process.start()
        self.processes.append(process)
        return process

    async def close(self) -> None:
        for process in self.processes:
            if process.process is not None and process.process.returncode is None:
                process.send(signal.SIGCONT)
            await process.kill()


async def ready(url: str, process: Process | None = None, *, timeout: float = READY) -> None:
    """Wait until /readyz says yes."""
    said = "nothing"
    async with httpx.AsyncClient(trust_env=False) as http:
        try:
            async with asyncio.timeout(timeout):
                while True:
                    with suppress(httpx.TransportError):
                        answer = await http.get(f"{url}/readyz")
                        if answer.status_code == httpx.codes.OK:
                            return
                        said = answer.text
                    await asyncio.sleep(0.02)  # HTTP has no way to wait for a state but to ask again
        except TimeoutError:
            log = process.log if process else ""
            raise AssertionError(f"{url} did not become ready, but said {said}; log:\n{log}") from None


@asynccontextmanager
async def rig(database_url: str, redis_url: str, *, prefix: str, **settings: str) -> AsyncIterator[Rig]:
    """A Rig whose processes end with the block."""
    made = Rig(database_url, redis_url, prefix, settings)
    try:
        yield made
    finally:
        await made.close()
