"""Valkey at a fixed place, to be killed, frozen and started again, empty or from an older file; and a primary with a replica."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from rowcast.embedded import Server, start_valkey
from rowcast.folders import prepare_folder
from tests.rig import free_port
from tests.waiting import until
from tests.wire import Wire


@dataclass
class Valkey:
    """One server; `url` is the same for ever. It keeps nothing on disk but what `save` writes."""

    state: Path
    port: int = field(default_factory=free_port)
    server: Server | None = None
    url: str = ""

    @property
    def running(self) -> bool:
        return self.server is not None and self.server.alive()

    @property
    def password(self) -> str:
        return (self.state / "valkey.password").read_text("utf-8").strip()

    async def start(self) -> None:
        """Start it, from the file if there is one."""
        assert not self.running
        self.server = await asyncio.to_thread(start_valkey, self.state, port=self.port)
        self.url = self.server.url

    async def save(self) -> None:
        """Write the file that later starts begin from."""
        await self.ask("SAVE")

    def forget(self) -> None:
        """Remove the file: the next start begins empty."""
        self._file.unlink(missing_ok=True)

    async def kill(self) -> None:
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        await self._end(signal.SIGTERM)

    def freeze(self) -> None:
        """It keeps its connections and says nothing."""
        self._send(signal.SIGSTOP)

    def thaw(self) -> None:
        self._send(signal.SIGCONT)

    async def ask(self, *words: str | int) -> Any:
        """What it answers to this command."""
        async with Redis.from_url(self.url, socket_timeout=10) as admin:
            execute: Any = admin.execute_command
            return await execute(*words)

    @property
    def _file(self) -> Path:
        return self.state / "valkey" / "dump.rdb"

    def _send(self, number: signal.Signals) -> None:
        if self.running:
            assert self.server is not None
            os.kill(self.server.pid, number)

    async def _end(self, number: signal.Signals) -> None:
        if self.server is not None:
            self._send(number)
            self.thaw()
            await asyncio.to_thread(self.server.stop)
            self.server = None


@dataclass
class ValkeyPair:
    """A primary, a replica of it, and the wire that the one follows the other through."""

    primary: Valkey
    replica: Valkey
    stream: Wire

    async def follow(self) -> None:
        """Start the replica and have it follow; returns when it is in step. It has the primary's password."""
        self.stream.heal()
        self.stream.retarget(self.primary.url)
        if not self.replica.running:
            prepare_folder(self.replica.state)
            shutil.copy2(self.primary.state / "valkey.password", self.replica.state / "valkey.password")
            await self.replica.start()
        await self.replica.ask("CONFIG", "SET", "masterauth", self.primary.password)
        await self.replica.ask("REPLICAOF", "127.0.0.1", self.stream.port)
        await until(self._in_step, timeout=30)

    async def promote(self) -> None:
        """The replica is the primary from now on. Nobody tells the old one: `follow` does, should it return."""
        await self.replica.ask("REPLICAOF", "NO", "ONE")
        self.primary, self.replica = self.replica, self.primary

    async def _in_step(self) -> bool:
        try:
            return "master_link_status:up" in (await self._replication())
        except RedisError:
            return False

    async def _replication(self) -> str:
        async with Redis.from_url(self.replica.url) as admin:
            found = await admin.info("replication")
        return "\n".join(f"{name}:{value}" for name, value in found.items())
