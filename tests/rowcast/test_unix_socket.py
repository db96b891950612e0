"""A Unix socket that was handed over, as systemd and proxies of the same machine have it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from rowcast.door import Bounds
from rowcast.serving import ServerName
from tests.rig import Rig
from tests.rowcast.served import STREAM, Counts, served_at, server, soon
from tests.rowcast.small_app import App
from tests.waiting import until

__all__ = ["server", "soon"]


def unix(path: Path) -> socket.socket:
    """A socket that listens there."""
    made = socket.socket(socket.AF_UNIX)
    made.setblocking(False)
    made.bind(str(path))
    made.listen()
    return made


async def test_a_proxy_that_comes_through_it_is_believed_when_it_says_who_asks(
    own: Rig, server: ServerName, tmp_path: Path
) -> None:
    await own.bridge()
    with unix(tmp_path / "s") as listening:
        settings = {"trusted_proxies": "unix", "streams_per_address": "1", "server": server}
        bind = ("--bind", f"fd://{listening.fileno()}")
        process = await own.command("web", "--auth", "off", *bind, fds=(listening.fileno(),), **settings)
        transport = httpx.AsyncHTTPTransport(uds=str(tmp_path / "s"))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=30) as http:
            # One that is not yet answered waits in the socket.
            assert (await http.get("/healthz")).status_code == httpx.codes.OK
            await until(lambda: _ready(http), timeout=30)
            async with stream(http, "192.0.2.1") as one:
                await said(one, "event: hello")
                posted = await http.post("/notifications", json={"user_id": 1, "message": "through a file"})
                assert posted.status_code == httpx.codes.CREATED
                await said(one, "through a file")
                again = await http.get("/events/1", headers={"X-Forwarded-For": "192.0.2.1"})
                assert (again.status_code, again.text.partition(":")[0]) == (httpx.codes.OK, "retry")
                async with stream(http, "192.0.2.2") as another:
                    await said(another, "through a file")
        assert f"unix:{tmp_path / 's'}" in process.log


@asynccontextmanager
async def stream(http: httpx.AsyncClient, client: str) -> AsyncIterator[AsyncIterator[str]]:
    """The lines of a stream of user 1 that is asked for on behalf of that address."""
    async with http.stream("GET", "/events/1", headers={"X-Forwarded-For": client}) as answer:
        yield answer.aiter_lines()


async def said(lines: AsyncIterator[str], text: str) -> None:
    """Wait for a line with it."""
    async with asyncio.timeout(30):
        while text not in await anext(lines):
            pass


async def _ready(http: httpx.AsyncClient) -> bool:
    return (await http.get("/readyz")).status_code == httpx.codes.OK


@pytest.mark.usefixtures("soon")
async def test_who_reads_nothing_is_freed_there_too(server: ServerName, tmp_path: Path) -> None:
    app, counts = App(), Counts()
    async with served_at(unix(tmp_path / "s"), app, server, Bounds(count=counts.count)):
        with socket.socket(socket.AF_UNIX) as reader:
            reader.connect(str(tmp_path / "s"))
            reader.sendall(STREAM)
            await until(lambda: app.streams == 1)
            await until(lambda: app.streams == 0, timeout=5)
    assert counts == {"slow_readers": 1}


@pytest.mark.usefixtures("soon")
async def test_a_steady_reader_of_what_never_ends_is_left_alone(server: ServerName, tmp_path: Path) -> None:
    """Something is always on its way to it."""
    app = App()
    async with served_at(unix(tmp_path / "s"), app, server):
        with socket.socket(socket.AF_UNIX) as reader:
            reader.connect(str(tmp_path / "s"))
            reader.sendall(STREAM)
            await until(lambda: app.streams == 1)
            end = asyncio.get_running_loop().time() + 2.5

            async def read_some() -> bool:
                reader.recv(20_000)
                await asyncio.sleep(0.02)
                return asyncio.get_running_loop().time() > end

            await until(read_some)
            assert app.streams == 1
