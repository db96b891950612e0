"""SIGTERM with very many streams open: each ends with its position, and the process in bounded time."""

from __future__ import annotations

import asyncio
import re
import socket
from contextlib import ExitStack
from pathlib import Path
from signal import SIGTERM
from typing import get_args

import pytest

from rowcast.serving import ServerName
from tests.event_source import open_stream
from tests.parts import python313_venv
from tests.rig import Rig

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

STREAMS = 1000
HELLO = b"event: hello\n"
# When to come back, the position, and the end of a chunked body; each may be a chunk of its own.
FAREWELL = re.compile(rb"retry: \d+\n\n(?:\r\n[0-9a-fA-F]+\r\n)?id: \d+\n\n\r\n0\r\n\r\n$")


@pytest.fixture(params=["this Python", "3.13"])
def python(request: pytest.FixtureRequest) -> Path | None:
    """Hypercorn alone never stops from Python 3.12.1 on while a connection is open."""
    return python313_venv() / "bin" / "python" if request.param == "3.13" else None


@pytest.mark.parametrize("server", get_args(ServerName))
async def test_a_thousand_streams_end_cleanly_and_the_process_within_5_s(
    own: Rig, server: str, python: Path | None
) -> None:
    await own.bridge()
    url, web = await own.web(python=python, server=server)
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


@pytest.mark.parametrize("server", get_args(ServerName))
async def test_readers_that_stopped_reading_keep_no_process_from_its_end(
    own: Rig, server: str, python: Path | None
) -> None:
    await own.bridge()
    url, web = await own.web(python=python, server=server)
    async with own.sql() as sql:
        await sql.execute(
            "INSERT INTO notifications (user_id, message) SELECT 1, repeat('x', 10000) FROM generate_series(1, 1000)"
        )
    with ExitStack() as ends:
        for _ in range(5):
            ends.enter_context(_stuck(int(url.rpartition(":")[2])))
        async with open_stream(f"{url}/events/1?since=all") as reading:
            await reading.until(lambda: len(reading.messages) == 1000, timeout=60)
        web.send(SIGTERM)
        assert await web.ended(timeout=5) == 0
    assert '"level": "error"' not in web.log


def _stuck(port: int) -> socket.socket:
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    made.connect(("127.0.0.1", port))
    made.sendall(b"GET /events/1?since=all HTTP/1.1\r\nHost: localhost\r\n\r\n")
    return made


async def opened(port: int, user: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET /events/{user}?since=now HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return reader, writer
