"""SIGTERM with very many streams open: each ends with its position, and the process in bounded time."""

from __future__ import annotations

import asyncio
import re
from signal import SIGTERM

import pytest

from tests.parts import python313_venv
from tests.rig import Rig

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

STREAMS = 1000
HELLO = b"event: hello\n"
# When to come back, the position, and the end of a chunked body; each may be a chunk of its own.
FAREWELL = re.compile(rb"retry: \d+\n\n(?:\r\n[0-9a-fA-F]+\r\n)?id: \d+\n\n\r\n0\r\n\r\n$")


@pytest.mark.parametrize("version", ["this Python", "3.13"])
async def test_a_thousand_streams_end_cleanly_and_the_process_within_5_s(own: Rig, version: str) -> None:
    """Hypercorn alone never stops from Python 3.12.1 on while a connection is open."""
    await own.bridge()
    python = python313_venv() / "bin" / "python" if version == "3.13" else None
    url, web = await own.web(python=python)
    port = int(url.rpartition(":")[2])
    streams = [await opened(port, user) for user in range(1, STREAMS + 1)]
    await asyncio.gather(*(reader.readuntil(HELLO) for reader, _ in streams))
    reading = [asyncio.ensure_future(reader.read()) for reader, _ in streams]
    web.send(SIGTERM)
    assert await web.ended(timeout=5) == 0
    for ended in await asyncio.gather(*reading):
        assert FAREWELL.search(ended), ended[-200:]
    for _, writer in streams:
        writer.close()


async def opened(port: int, user: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET /events/{user}?since=now HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return reader, writer
