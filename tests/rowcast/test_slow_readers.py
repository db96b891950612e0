"""Clients that read nothing, or next to nothing: freed, down to the kernel, while others are left alone."""

from __future__ import annotations

import asyncio
import socket

import pytest

from rowcast.door import Bounds
from rowcast.serving import ServerName
from tests.rowcast.served import GET, STREAM, Counts, at_kernel, connect, served, server, soon, stuck
from tests.rowcast.small_app import ANSWERS, CHUNK, App
from tests.waiting import until

__all__ = ["server", "soon"]

pytestmark = pytest.mark.usefixtures("soon")


async def test_who_reads_nothing_is_freed_and_little_waits_for_it(server: ServerName) -> None:
    app, counts = App(), Counts()
    async with served(app, server, Bounds(count=counts.count)) as (port, _):
        readers = [stuck(port) for _ in range(20)]
        await until(lambda: app.streams == 20)
        await until(lambda: app.sent > 20 * len(CHUNK))
        assert max(at_kernel(port)) < 300_000, "the kernel took more than it may"
        await until(lambda: app.streams == 0, timeout=5)
        await until(lambda: not at_kernel(port), timeout=1)
        for reader in readers:
            reader.close()
    assert counts == {"slow_readers": 20}


async def test_a_byte_now_and_then_is_not_reading(server: ServerName) -> None:
    app = App()
    async with served(app, server) as (port, _):
        with stuck(port) as reader:
            await until(lambda: app.streams == 1)

            async def read_a_byte() -> bool:
                reader.recv(1)
                await asyncio.sleep(0.02)
                return app.streams == 0

            await until(read_a_byte, timeout=6)
            await until(lambda: not at_kernel(port), timeout=1)


@pytest.mark.slow
async def test_a_slow_but_steady_reader_is_left_alone(server: ServerName) -> None:
    """20 KB a second, for three times the time that nobody may take to read nothing."""
    app = App()
    async with served(app, server) as (port, _):
        with stuck(port) as reader:
            await until(lambda: app.streams == 1)
            end = asyncio.get_running_loop().time() + 3

            async def read_some() -> bool:
                reader.recv(1000)
                await asyncio.sleep(0.05)
                return asyncio.get_running_loop().time() > end

            await until(read_some)
            assert app.streams == 1


@pytest.mark.slow
async def test_a_quiet_stream_is_left_alone(server: ServerName) -> None:
    app = App()
    async with served(app, server) as (port, _):
        reader, writer = await connect(port, STREAM.replace(b"stream", b"quiet"))
        await reader.readexactly(len(CHUNK))
        await asyncio.wait({asyncio.ensure_future(reader.read(1 << 20))}, timeout=0.1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2):
                await reader.read(1)
        assert app.streams == 1
        writer.close()


@pytest.mark.slow
@pytest.mark.parametrize("path", ["page", "list"])
async def test_an_answer_that_nobody_fetches_is_dropped_with_its_connection(server: ServerName, path: str) -> None:
    """Long ones wait with us; a short one with the kernel, which would offer it for as long as the client says it lives."""
    app, counts = App(), Counts()
    async with served(app, server, Bounds(count=counts.count)) as (port, _):
        with stuck(port, f"GET /{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()):
            await until(lambda: app.asked != [] and at_kernel(port) != [0])
            await until(lambda: not at_kernel(port), timeout=4)
    assert counts == {"slow_readers": 1}


@pytest.mark.slow
@pytest.mark.parametrize("path", ["page", "list"])
async def test_an_answer_that_is_fetched_in_time_arrives_whole(server: ServerName, path: str) -> None:
    app, counts = App(), Counts()
    async with served(app, server, Bounds(count=counts.count)) as (port, _):
        for _ in range(3):
            with stuck(port, f"GET /{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()) as reader:
                assert (await asyncio.to_thread(_all, reader)).endswith(ANSWERS[f"/{path}"])
        await until(lambda: not at_kernel(port), timeout=2)
    assert not counts


def _all(reader: socket.socket) -> bytes:
    got = b""
    reader.settimeout(5)
    while piece := reader.recv(1 << 16):
        got += piece
    return got


@pytest.mark.slow
async def test_others_are_answered_meanwhile(server: ServerName) -> None:
    app = App()
    async with served(app, server) as (port, _):
        readers = [stuck(port) for _ in range(50)]
        await until(lambda: app.streams == 50)
        while app.streams:
            reader, writer = await connect(port, GET)
            async with asyncio.timeout(2):
                await reader.readuntil(b"ok")
            writer.close()
        for reader_ in readers:
            reader_.close()
