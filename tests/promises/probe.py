"""How long a row takes to a stream, measured beside a fault that is not to touch it; and a stream for rows of many megabytes."""

from __future__ import annotations

import asyncio
import statistics
import time
from urllib.parse import urlsplit

from tests.event_source import EventSource
from tests.rig import Rig


async def delivery(own: Rig, stream: EventSource, user: int, *, rows: int = 10, within: float = 10.0) -> float:
    """Seconds from before the INSERT to the event, the median of so many rows one after the other; raises when one isn't there in time."""
    took = []
    async with own.sql() as sql:
        for number in range(rows):
            message = f"probe {number} at {time.monotonic_ns()}"
            began = time.monotonic()
            await sql.execute("INSERT INTO notifications (user_id, message) VALUES (%s, %s)", (user, message))
            await stream.until(lambda message=message: _last(stream) == message, timeout=within)  # type: ignore[misc]
            took.append(time.monotonic() - began)
    return statistics.median(took)


def _last(stream: EventSource) -> str | None:
    return stream.events[-1].json.get("message") if stream.events else None


async def bytes_until(url: str, end: bytes, *, timeout: float = 30.0) -> bytes:
    """All that a stream says up to and with `end`: for rows of many megabytes, which our EventSource is too thorough for."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    said = bytearray()
    try:
        writer.write(f"GET {parts.path}?{parts.query} HTTP/1.0\r\nHost: probe\r\n\r\n".encode())
        async with asyncio.timeout(timeout):
            while said.find(end, max(0, len(said) - (1 << 20))) < 0:
                chunk = await reader.read(1 << 19)
                assert chunk, f"the stream ended after {len(said)} bytes: {bytes(said[-200:])!r}"
                said += chunk
    finally:
        writer.transport.abort()
    return bytes(said)
