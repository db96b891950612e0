"""The small app on a free port, by each server, and what the kernel has of its connections."""

from __future__ import annotations

import asyncio
import ctypes
import importlib.util
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import get_args

import pytest

from rowcast.door import Bounds
from rowcast.serving import ServerName, end_leftovers, serve_until
from rowcast.sockets import listen, parse_bind
from tests.parts import missing
from tests.rowcast.small_app import App

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
STREAM = b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n"
QUIET = STREAM.replace(b"stream", b"quiet")
_SO_ATTACH_FILTER = 26  # Linux, and socket has no name for it


@pytest.fixture(params=get_args(ServerName))
def server(request: pytest.FixtureRequest) -> ServerName:
    name: ServerName = request.param
    if importlib.util.find_spec(name) is None:
        missing(f"no {name}: make setup")
    return name


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who reads nothing is cut after seconds instead of half a minute."""
    for name, seconds in {"PATIENCE": 1.0, "LOOK": 0.2, "_TICK": 0.05}.items():
        monkeypatch.setattr(f"rowcast.connections.{name}", seconds)


class Counts(Counter[str]):
    """How often each bound was reached."""

    def count(self, what: str) -> None:
        self[what] += 1


@asynccontextmanager
async def served(
    app: App, server: ServerName, bounds: Bounds | None = None
) -> AsyncIterator[tuple[int, asyncio.Event]]:
    """The app on a free port, until the event is set or the block ends."""
    (listening,) = listen(parse_bind("127.0.0.1:0"))
    async with served_at(listening, app, server, bounds) as stopping:
        yield listening.getsockname()[1], stopping


@asynccontextmanager
async def served_at(
    listening: socket.socket, app: App, server: ServerName, bounds: Bounds | None = None
) -> AsyncIterator[asyncio.Event]:
    """The same on that socket, which is closed then."""
    stopping = asyncio.Event()
    with listening:
        async with asyncio.TaskGroup() as tasks:
            work = serve_until(app, [listening], stopping, app.drain, server=server, bounds=bounds or Bounds())
            tasks.create_task(work, name="server")
            yield stopping
            stopping.set()
        await end_leftovers()


async def connect(port: int, said: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 22)
    writer.write(said)
    return reader, writer


def stuck(port: int, said: bytes = STREAM) -> socket.socket:
    """A client with room for little, that reads nothing by itself."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    made.connect(("127.0.0.1", port))
    made.sendall(said)
    return made


def lose(client: socket.socket) -> None:
    """From now on nothing reaches this client, nor is acknowledged: its own filter drops each packet, as a network does that has lost it."""
    drop = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0))  # BPF_RET: keep nothing
    client.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", 1, ctypes.addressof(drop)))


def at_kernel(port: int) -> list[int]:
    """The bytes that wait in each connection that this port has, whoever holds it: an orphan of the kernel counts."""
    found = []
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        words = line.split()
        state, local = words[3], int(words[1].partition(":")[2], 16)
        if local == port and state not in {"0A", "06"}:  # neither listening nor a memory of one that is closed
            found.append(int(words[4].partition(":")[0], 16))
    return found
