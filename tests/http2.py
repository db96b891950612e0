"""A client that speaks HTTP/2 as it likes: the h2 library over TLS, one frame after the other."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events


@dataclass
class Http2Client:
    """One connection; `events` is all that came."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    connection: h2.connection.H2Connection
    events: list[h2.events.Event] = field(default_factory=list)
    ended: bool = False

    def get(self, path: str, *more: tuple[str, str], method: str = "GET", end: bool = True) -> int:
        """Ask; the number of the stream. Sent with the next `flush`."""
        stream_id = self.connection.get_next_available_stream_id()
        where = [(":scheme", "https"), (":path", path)] if method != "CONNECT" else []
        head = [(":method", method), (":authority", "localhost"), *where, *more]
        self.connection.send_headers(stream_id, head, end_stream=end)
        return stream_id

    async def flush(self) -> None:
        """Send all that is to be sent."""
        self.writer.write(self.connection.data_to_send())
        with suppress(ConnectionError):
            await self.writer.drain()

    async def until(self, condition: Callable[[], bool], *, timeout: float = 10) -> None:
        """Read until it is so, or the server has ended the connection."""
        async with asyncio.timeout(timeout):
            while not (self.ended or condition()):
                await self.read()

    async def read(self) -> None:
        """Take what came."""
        data = b""
        with suppress(ConnectionError):
            data = await self.reader.read(1 << 16)
        if not data:
            self.ended = True
            return
        events = self.connection.receive_data(data)
        for event in events:
            if isinstance(event, h2.events.DataReceived):
                with suppress(h2.exceptions.ProtocolError):
                    self.connection.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id or 0)
        self.events += events
        await self.flush()

    def data(self, stream_id: int) -> bytes:
        """What came on that stream."""
        found = [event for event in self.events if isinstance(event, h2.events.DataReceived)]
        return b"".join(event.data or b"" for event in found if event.stream_id == stream_id)

    def status(self, stream_id: int) -> str | None:
        """Of the answer on that stream, once there is one."""
        for event in self.events:
            if isinstance(event, h2.events.ResponseReceived) and event.stream_id == stream_id:
                return dict(event.headers or [])[b":status"].decode()
        return None

    def has(self, kind: type[h2.events.Event], stream_id: int | None = None) -> bool:
        """Whether such a thing came, on that stream if one is named."""
        return any(
            isinstance(event, kind) and (stream_id is None or getattr(event, "stream_id", None) == stream_id)
            for event in self.events
        )


@asynccontextmanager
async def http2(port: int, context: ssl.SSLContext, *, begin: bool = True) -> AsyncIterator[Http2Client]:
    """A connection to localhost, until the end of the block."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")
    made = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, validate_outbound_headers=False))
    client = Http2Client(reader, writer, made)
    try:
        if begin:
            made.initiate_connection()
            await client.flush()
        yield client
    finally:
        writer.transport.abort()
