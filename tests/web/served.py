"""The whole web on a port, from its admission to a real log and a real Valkey, and a client that says every byte."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from db.connect import DatabaseConfig, open_pool
from rowcast.embedded import Server
from rowcast.serving import serve_until
from tests.db.databases import Databases
from tests.waiting import running, until
from tests.web.air import Air, open_air
from web.admission import Admission
from web.app import create_app
from web.auth.caller import Verifier
from web.auth.gate import Gate
from web.config import WebConfig
from web.front import Front
from web.heads import BoundedHeads
from web.refusals import Cap, Refusals
from web.request_ids import RequestIds
from web.routes.events import events_blueprint
from web.routes.metrics import metrics_blueprint, show_streams


@dataclass
class Client:
    """A connection on which the test says every byte."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def ask(self, line: str, *headers: str, body: str = "") -> None:
        self.writer.write("\r\n".join([f"{line} HTTP/1.1", "Host: x", *headers, "", body]).encode())

    async def head(self) -> list[bytes]:
        """Status line and headers but for those that no two answers share."""
        async with asyncio.timeout(10):
            lines = (await self.reader.readuntil(b"\r\n\r\n")).lower().replace(b"http", b"HTTP").split(b"\r\n")
        return [
            lines[0].strip(),
            *sorted(line for line in lines[1:] if line and not line.startswith((b"date:", b"x-request-id:"))),
        ]

    async def until(self, words: bytes) -> bytes:
        async with asyncio.timeout(10):
            return await self.reader.readuntil(words)


@dataclass
class Served:
    """The whole web on a port, over a hub that hears what the test publishes."""

    air: Air
    port: int
    stopping: asyncio.Event
    registry: CollectorRegistry

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def refused(self, cap: Cap) -> float | None:
        """How often, as /metrics says it."""
        return self.registry.get_sample_value("rowcast_refusals_total", {"cap": cap})

    @asynccontextmanager
    async def client(self, address: str = "127.0.0.1") -> AsyncIterator[Client]:
        """A connection from that address."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, local_addr=(address, 0))
        try:
            yield Client(reader, writer)
        finally:
            writer.transport.abort()

    async def one_stream(self) -> None:
        await until(lambda: self.air.hub.streams == 1)

    async def nobody_left(self) -> None:
        await until(lambda: self.air.hub.streams == 0)


@asynccontextmanager
async def serving(
    databases: Databases,
    valkey: Server,
    config: WebConfig,
    verifier: Verifier | None = None,
    *,
    header_bytes: int = 16 << 10,
) -> AsyncIterator[Served]:
    with databases.migrated(config.user_id_type) as url:
        async with open_air(url, valkey.url) as air, open_pool(DatabaseConfig(url), name="test web") as pool:
            gate = Gate(config, verifier, air.clock)
            registry = CollectorRegistry()
            refusals = Refusals(air.clock, registry)
            show_streams(registry, air.hub)
            blueprints = events_blueprint(config.user_id_type), metrics_blueprint(registry)
            quart = create_app(config, gate, pool, air.hub, *blueprints, refusals=refusals, clock=air.clock)
            listener, stopping = socket.create_server(("127.0.0.1", 0)), asyncio.Event()
            front = Front(quart, config, gate, hub=air.hub, history=air.history, refusals=refusals, clock=air.clock)
            ids = RequestIds(air.clock)
            admitted = Admission(config, refusals, ids, air.clock).before(front)
            app = ids.before(BoundedHeads(admitted, header_bytes, refusals, config.cors_origins))

            async def drain() -> None:
                await air.hub.drain(5)

            async with running(serve_until(app, [listener], stopping, drain)):
                yield Served(air, listener.getsockname()[1], stopping, registry)
                stopping.set()
            listener.close()
