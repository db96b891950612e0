"""A TCP link to a server that can be cut, made deaf, and made to say what the server never said."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit, urlunsplit


class Link:
    """Forwards both ways; `url` is the server's, by way of this link."""

    def __init__(self, target: str) -> None:
        self._target = urlsplit(target)
        self._clients: set[asyncio.StreamWriter] = set()
        self._pumps: set[asyncio.Task[None]] = set()
        self.url = ""
        self.refusing = False
        self.deaf = False  # what the server says is swallowed
        self.connections = 0
        self._said = asyncio.Event()
        self.swallowed = b""

    async def serve(self) -> asyncio.Server:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        user = self._target.netloc.rpartition("@")[0]
        self.url = urlunsplit(self._target._replace(netloc=f"{user}@127.0.0.1:{port}"))
        return server

    def cut(self) -> None:
        """Break all connections of now, without a word."""
        for client in self._clients:
            client.transport.abort()
        for pump in self._pumps:
            pump.cancel()

    def inject(self, words: bytes) -> None:
        """Say this to the clients, as if the server had."""
        for client in self._clients:
            client.write(words)

    async def heard(self, words: bytes) -> None:
        """Wait until the server has said this while the link was deaf."""
        async with asyncio.timeout(10):
            while words not in self.swallowed:
                self._said.clear()
                await self._said.wait()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._pumps.add(task)
        self._clients.add(writer)
        try:
            if not self.refusing:
                self.connections += 1
                await self._forward(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # a connection ends so or so; the server's callback has nobody to tell
        finally:
            writer.transport.abort()
            self._clients.discard(writer)
            self._pumps.discard(task)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(self._target.hostname, self._target.port)
        try:
            async with asyncio.TaskGroup() as tasks:
                back = tasks.create_task(self._back(far_reader, writer))
                while data := await reader.read(1 << 16):
                    far_writer.write(data)
                    await far_writer.drain()
                back.cancel()
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None
        finally:
            far_writer.transport.abort()

    async def _back(self, far_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await far_reader.read(1 << 16):
            if self.deaf:
                self.swallowed += data
                self._said.set()
            else:
                writer.write(data)
                await writer.drain()
        writer.transport.abort()

    async def close(self) -> None:
        self.refusing = True
        self.cut()
        with suppress(ValueError):
            await asyncio.wait(self._pumps, timeout=5)


@asynccontextmanager
async def open_link(target: str) -> AsyncIterator[Link]:
    """A link to that redis:// URL, until the end of the block."""
    link = Link(target)
    server = await link.serve()
    try:
        yield link
    finally:
        server.close()
        await link.close()
