"""How long a row takes to a stream, measured beside a fault that is not to touch it; and a stream for rows of many megabytes."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from tests.event_source import EventSource
from tests.rig import Rig


async def delivery(own: Rig, stream: EventSource, user: int, *, rows: int = 10, within: float = 10.0) -> float:
    """Seconds from before the INSERT to the event, the median of so many rows one after the other; raises when one isn't there in time."""
    took = []
    async with own.sql() as sql:
        for number in range(rows):
            message = f"probe {number} at {time.monotonic_ns()}"
            began, seen = time.monotonic(), len(stream.events)
            await sql.execute("INSERT INTO notifications (user_id, message) VALUES (%s, %s)", (user, message))
            await stream.until(
                lambda message=message, seen=seen: _has(stream, message, seen),  # type: ignore[misc]
                timeout=within,
            )
            took.append(time.monotonic() - began)
    return statistics.median(took)


def _has(stream: EventSource, message: str, seen: int) -> bool:
    return any(event.json.get("message") == message for event in stream.events[seen:])


class RawStream:
    """A stream's bytes as they come: for rows of many megabytes, which our EventSource is too thorough for."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self.said = bytearray()

    async def until(self, words: bytes, *, timeout: float = 30.0) -> None:
        """Read until it has said this."""
        looked = 0
        async with asyncio.timeout(timeout):
            while self.said.find(words, looked) < 0:
                looked = max(0, len(self.said) - len(words))
                chunk = await self._reader.read(1 << 19)
                assert chunk, f"the stream ended after {len(self.said)} bytes: {bytes(self.said[-200:])!r}"
                self.said += chunk


@asynccontextmanager
async def raw_stream(url: str) -> AsyncIterator[RawStream]:
    """A connection that is not made again, until the end of the block."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(f"GET {parts.path}?{parts.query} HTTP/1.0\r\nHost: probe\r\n\r\n".encode())
    try:
        yield RawStream(reader)
    finally:
        writer.transport.abort()
