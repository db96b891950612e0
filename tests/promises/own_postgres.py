"""A Postgres of the test's own, to be killed, starved and frozen, with a Rowcast on it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import psutil
import psycopg

from db.migrate import migrate
from rowcast.embedded import Server, start_postgres
from tests.parts import not_permitted, require
from tests.rig import Rig, rig
from tests.servers import FAST, embedded_valkey, folder


class OwnPostgres:
    """Running when made, and after `start`; always at the same port, on the same data."""

    def __init__(self, state: Path, settings: dict[str, str]) -> None:
        self._state = state
        self._settings = FAST | settings
        self._server: Server = start_postgres(state, settings=self._settings)
        self.url = self._server.url

    @property
    def pid(self) -> int:
        """The postmaster's."""
        return self._server.pid

    @property
    def log(self) -> str:
        """All that it ever logged."""
        return self._server.log.read_text("utf-8", "replace")

    async def start(self) -> None:
        self._server = await asyncio.to_thread(
            start_postgres, self._state, port=self._server.port, settings=self._settings
        )

    async def kill(self) -> None:
        """kill -9 of the postmaster; returns when all of it is gone."""
        children = psutil.Process(self.pid).children()
        os.kill(self.pid, signal.SIGKILL)
        await asyncio.to_thread(psutil.wait_procs, children, 10)
        await self.ended()

    async def ended(self) -> None:
        """Wait for its end."""
        await asyncio.to_thread(self._server.child.process.wait, 30)
        await asyncio.to_thread(self._server.stop)  # lets its watcher go

    def limit_files(self, size: int | None) -> None:
        """No file may grow beyond so many bytes from now on (None: as it likes): what a full disk is to it, without a disk of its own."""
        prlimit = require("prlimit")
        postmaster = psutil.Process(self.pid)
        # As its own account: root itself may lack the right to limit others.
        account = (postmaster.uids().real, postmaster.gids().real) if os.geteuid() == 0 else (None, None)
        wanted = "unlimited" if size is None else size

        def limit(process: psutil.Process) -> None:
            command: list[str | Path] = [prlimit, f"--pid={process.pid}", f"--fsize={wanted}:"]
            limited = subprocess.run(command, check=False, user=account[0], group=account[1], stderr=subprocess.DEVNULL)
            assert limited.returncode == 0 or _has_ended(process)

        limit(postmaster)
        # Only now: whatever it starts from here on has its limit.
        for process in postmaster.children(recursive=True):
            limit(process)

    def accepts(self) -> bool:
        """Whether it has recovered."""
        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def stop(self) -> None:
        self._server.stop()


def _has_ended(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@contextmanager
def small_disk(megabytes: int) -> Iterator[Path]:
    """A file system of that size, in memory; mounted by root, where root may. Others are told so, and the test is not run."""
    with folder() as path:
        options = f"size={megabytes}m,mode=0711"
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", path], capture_output=True, text=True, check=False
        )
        if mounted.returncode:
            not_permitted(
                "no right to mount a small disk here: run the tests as root (a limit on file sizes stands for it)"
            )
        try:
            yield path
        finally:
            subprocess.run(["umount", "--lazy", path], check=True)


def use_up(disk: Path) -> Path:
    """Write a file until the disk is full; that file."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    return ballast


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """Stop that process, a server's backend for instance, until the end of the block."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def backend(own: Rig, name: str) -> int:
    """The pid of the one session of that name (application_name) in this database."""
    async with own.sql() as sql:
        rows = await sql.execute(
            "SELECT pid FROM pg_stat_activity WHERE application_name = %s AND datname = current_database()", (name,)
        )
        [(pid,)] = await rows.fetchall()
    return int(pid)


@asynccontextmanager
async def own_postgres(**settings: str) -> AsyncIterator[tuple[OwnPostgres, Rig]]:
    """A server with these settings, and Rowcast's tables in it for processes that the test starts; Redis is a fresh one."""
    with folder() as state:
        async with own_postgres_in(state, settings) as (server, own):
            yield server, own


@asynccontextmanager
async def own_postgres_in(state: Path, settings: dict[str, str]) -> AsyncIterator[tuple[OwnPostgres, Rig]]:
    """The same, its data in that folder."""
    with embedded_valkey() as valkey:
        server = await asyncio.to_thread(OwnPostgres, state, settings)
        try:
            await asyncio.to_thread(migrate, server.url, say=lambda _: None)
            async with rig(server.url, valkey.url, prefix="own", retry="0.1") as own:
                yield server, own
        finally:
            await asyncio.to_thread(server.stop)
