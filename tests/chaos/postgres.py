"""Postgres at a fixed place, to be killed, frozen and started again; and a primary with a streaming standby that can be promoted.

What the standby lags behind by is lost when it is promoted; a wire between the two makes the lag. The place that was lost becomes the
standby of the other, from a fresh copy, so that the next failover finds things as the first did.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, LiteralString, TypeAlias

import psutil
import psycopg
from psycopg.conninfo import make_conninfo

from rowcast.embedded import Server, start_postgres
from rowcast.embedded.binaries import postgres_programs
from rowcast.folders import prepare_folder, server_account
from tests.rig import free_port
from tests.servers import FAST
from tests.waiting import until
from tests.wire import Wire

Session: TypeAlias = psycopg.AsyncConnection[tuple[Any, ...]]

# What a standby behind a broken wire has not got yet must still be there when the wire is whole.
SETTINGS = FAST | {"wal_level": "logical", "hot_standby": "on", "wal_keep_size": "1GB"}
STANDBY = "standby"  # what it is called in pg_stat_replication and in synchronous_standby_names
_SENT: LiteralString = "SELECT pg_current_wal_lsn()"
_REACHED: LiteralString = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
_STREAMING: LiteralString = (
    "SELECT count(*) = 1 FROM pg_stat_replication WHERE application_name = 'standby' AND state = 'streaming'"
)
_SYNCHRONOUS: LiteralString = "SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync'"


@dataclass
class Postgres:
    """One server and its data; `url` is its superuser's, the same for ever."""

    state: Path
    settings: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    server: Server | None = None
    url: str = ""

    @property
    def running(self) -> bool:
        return self.server is not None and self.server.alive()

    @property
    def data(self) -> Path:
        return self.state / "postgres"

    async def start(self) -> None:
        """Start it, on the data that are there; returns when it accepts connections."""
        assert not self.running
        self.server = await asyncio.to_thread(
            start_postgres, self.state, port=self.port, settings=SETTINGS | self.settings
        )
        self.url = self.server.url

    async def kill(self) -> None:
        """SIGKILL the postmaster; returns when it and the sessions, which then end themselves, are gone."""
        if self.server is None:
            return
        sessions = self._sessions()
        self._send(signal.SIGKILL, [])
        self._send(signal.SIGCONT, sessions)
        await asyncio.to_thread(self.server.stop)
        await asyncio.to_thread(psutil.wait_procs, sessions, 10)
        self.server = None

    async def stop(self) -> None:
        """End it in order: sessions end, transactions roll back."""
        if self.server is not None:
            self.thaw()
            await asyncio.to_thread(self.server.stop)
            self.server = None

    def freeze(self) -> None:
        """Stop all its processes: connections stay open and say nothing."""
        self._send(signal.SIGSTOP, self._sessions())

    def thaw(self) -> None:
        self._send(signal.SIGCONT, self._sessions())

    @asynccontextmanager
    async def sql(self) -> AsyncIterator[Session]:
        """A superuser's session in autocommit."""
        async with await psycopg.AsyncConnection.connect(self.url, autocommit=True, connect_timeout=5) as session:
            yield session

    async def true(self, query: LiteralString, *values: object) -> bool:
        """What a query of one value says; False too while the server can't be asked."""
        try:
            async with self.sql() as session:
                row = await (await session.execute(query, values)).fetchone()
        except psycopg.OperationalError:
            return False
        return bool(row and row[0])

    def _sessions(self) -> list[psutil.Process]:
        assert self.server is not None
        try:
            return psutil.Process(self.server.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def _send(self, number: signal.Signals, others: list[psutil.Process]) -> None:
        assert self.server is not None
        with suppress(ProcessLookupError):
            os.kill(self.server.pid, number)
        for other in others:
            with suppress(psutil.NoSuchProcess):
                other.send_signal(number)


@dataclass
class Pair:
    """A primary, at times a standby of it, and the wire that the one streams to the other through."""

    primary: Postgres
    standby: Postgres
    stream: Wire
    synchronous: bool = False

    @property
    def url(self) -> str:
        """Both places, for libpq to find the one that takes writes."""
        ports = f"{self.primary.port},{self.standby.port}"
        return make_conninfo(
            self.primary.url, host="127.0.0.1,127.0.0.1", port=ports, target_session_attrs="read-write"
        )

    async def follow(self) -> None:
        """Make the standby anew from the primary; returns when it streams, and counts if it is synchronous."""
        self.stream.heal()
        self.stream.retarget(self.primary.url)
        await self.standby.stop()
        await asyncio.to_thread(_copy, self.primary, self.standby, self.stream)
        await self.standby.start()
        await until(lambda: self.primary.true(_STREAMING), timeout=30)
        if self.synchronous:
            await self._wait_for_standby(STANDBY)
            await until(lambda: self.primary.true(_SYNCHRONOUS), timeout=30)

    async def caught_up(self) -> None:
        """Wait until the standby has replayed all that the primary has written by now."""
        async with self.primary.sql() as session:
            row = await (await session.execute(_SENT)).fetchone()
        assert row is not None
        await until(lambda: self.standby.true(_REACHED, row[0]), timeout=30)

    async def promote(self) -> None:
        """Make the standby the primary, whose end is for good: what the standby lacks is lost."""
        await self.primary.kill()
        async with self.standby.sql() as session:
            await session.execute("SELECT pg_promote()")
        self.primary, self.standby = self.standby, self.primary
        # Its own copy of the setting would make it wait for a standby that is not there yet.
        await self._wait_for_standby("")

    async def _wait_for_standby(self, name: LiteralString) -> None:
        async with self.primary.sql() as session:
            await session.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{name}'")
            await session.execute("SELECT pg_reload_conf()")


def _copy(primary: Postgres, standby: Postgres, stream: Wire) -> None:
    """A copy of the primary's data in the standby's place, told to follow the primary through the wire. Blocks."""
    prepare_folder(standby.state)
    account = server_account()
    programs = postgres_programs(standby.state, account)
    shutil.rmtree(standby.data, ignore_errors=True)
    standby.data.mkdir(mode=0o700)
    if account:
        os.chown(standby.data, account.uid, account.gid)
    shutil.copy2(primary.state / "postgres.password", standby.state / "postgres.password")
    source = make_conninfo(primary.url, application_name=STANDBY)
    command = [
        str(programs / "pg_basebackup"),
        "-D",
        str(standby.data),
        "-d",
        source,
        "-X",
        "stream",
        "-c",
        "fast",
        "--no-sync",
    ]
    copied = subprocess.run(
        command, cwd="/", env={"LC_ALL": "C"}, capture_output=True, text=True, check=False, **_as(account)
    )
    assert copied.returncode == 0, copied.stderr
    (standby.data / "standby.signal").touch()
    through = make_conninfo(primary.url, application_name=STANDBY, host="127.0.0.1", port=stream.port)
    standby.settings |= {"primary_conninfo": through}
    primary.settings.pop("primary_conninfo", None)


def _as(account: Any) -> Mapping[str, Any]:
    return {"user": account.uid, "group": account.gid, "extra_groups": []} if account else {}
