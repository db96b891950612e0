"""A running Rowcast whose ways to Redis can be broken: a Valkey of its own, one wire to it for the bridge and one for the web process."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from tests.db.databases import Databases
from tests.fanout.listening import ask
from tests.fanout.own_valkey import OwnValkey
from tests.promises.baseline import Baseline
from tests.promises.load import Load
from tests.rig import Process, Rig, ready, rig
from tests.servers import folder
from tests.wire import Wire, wire

_log = logging.getLogger(__name__)

HEALS = 10.0
# Lines that the log of one process may grow by in a fault, by each of its seconds, and by each connection that is lost and restored.
LINES, LINES_PER_SECOND, LINES_PER_CONNECTION = 20, 0.5, 2


@dataclass
class Wired:
    """What runs, and how to break it."""

    own: Rig
    valkey: OwnValkey
    bridge: Process
    web: Process
    url: str
    bridge_wire: Wire
    web_wire: Wire

    async def ask(self, *words: str | int) -> Any:
        """What Valkey answers to this command, asked straight."""
        async with Redis.from_url(self.valkey.url) as admin:
            return await ask(admin, *words)

    @asynccontextmanager
    async def fault(self, load: Load) -> AsyncIterator[None]:
        """Whatever the block breaks and mends: 10 s after it all is as before, /readyz included, and no INSERT failed or waited."""
        before = await Baseline.of(self.valkey.url, self.bridge, self.web)
        began, noise = time.monotonic(), [self._noise(*pair) for pair in self._pairs()]
        yield
        ended = time.monotonic()
        await load.flows(within=HEALS)
        await ready(self.url, self.web, timeout=HEALS - (time.monotonic() - ended))
        _log.info("healed in %.1f s", time.monotonic() - ended)
        load.writer.unharmed()
        await before.returns()
        for pair, count in zip(self._pairs(), noise, strict=True):
            assert self._noise(*pair) - count < LINES + LINES_PER_SECOND * (ended - began), pair[0].log

    def _pairs(self) -> tuple[tuple[Process, Wire], ...]:
        return (self.bridge, self.bridge_wire), (self.web, self.web_wire)

    @staticmethod
    def _noise(process: Process, wire: Wire) -> int:
        return process.log.count("\n") - LINES_PER_CONNECTION * wire.opened


@asynccontextmanager
async def wired(databases: Databases, **settings: str) -> AsyncIterator[Wired]:
    """A bridge that leads and a web process that is ready, until the end of the block."""
    with folder() as state, databases.migrated() as address:
        valkey = OwnValkey(state)
        try:
            async with (
                wire(valkey.url) as bridge_wire,
                wire(valkey.url) as web_wire,
                rig(address, valkey.url, prefix="own", retry="0.1", **settings) as own,
            ):
                bridge = await own.bridge(redis_url=bridge_wire.url)
                url, web = await own.web(redis_url=web_wire.url)
                yield Wired(own, valkey, bridge, web, url, bridge_wire, web_wire)
        finally:
            valkey.stop()
