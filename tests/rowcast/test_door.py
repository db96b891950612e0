"""Connections in numbers: as many as may be, and what becomes of the rest, when descriptors run out, and when thousands come and go."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil
import pytest

from rowcast.door import Bounds
from rowcast.serving import ServerName
from tests.rowcast.served import GET, QUIET, Counts, at_kernel, connect, served, server
from tests.rowcast.small_app import CHUNK, App
from tests.waiting import until

__all__ = ["server"]


async def answered(port: int) -> bool:
    """Whether a new client is served; not if it is turned away."""
    with suppress(ConnectionError, asyncio.IncompleteReadError):
        async with asyncio.timeout(2):
            reader, writer = await connect(port, GET)
            await reader.readuntil(b"ok")
            writer.close()
            return True
    return False


async def test_more_connections_than_may_be_are_turned_away_at_once_and_later_let_in(server: ServerName) -> None:
    app, counts = App(), Counts()
    async with served(app, server, Bounds(connections=10, count=counts.count)) as (port, _):
        open_ones = [await connect(port, QUIET) for _ in range(10)]
        for reader, _ in open_ones:
            await reader.readexactly(len(CHUNK))
        assert not any([await answered(port) for _ in range(3)])
        assert counts["connections"] >= 3
        assert app.streams == 10
        for _, writer in open_ones:
            writer.close()
        await until(lambda: answered(port))


@contextmanager
def few_descriptors(more: int) -> Iterator[None]:
    """This process may open only so many more."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    probe = os.open(os.devnull, os.O_RDONLY)
    os.close(probe)
    resource.setrlimit(resource.RLIMIT_NOFILE, (probe + more, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def test_who_leaves_in_the_middle_of_a_request_is_freed_at_once(server: ServerName) -> None:
    """Answered with a 400 that the client resets: the kernel counts those bytes as unsent for ever."""
    async with served(App(), server) as (port, _):
        assert await answered(port)
        files = psutil.Process().num_fds()
        for _ in range(20):
            _, writer = await connect(port, b"GET / HT")
            writer.close()
        await until(lambda: psutil.Process().num_fds() <= files, timeout=2)


async def test_without_descriptors_the_server_lives_and_recovers(
    server: ServerName, caplog: pytest.LogCaptureFixture
) -> None:
    """Clients are made before: they need descriptors of this process too."""
    app, counts = App(), Counts()
    async with served(app, server, Bounds(count=counts.count)) as (port, _):
        clients = [socket.socket() for _ in range(40)]
        with few_descriptors(10):
            for client in clients:
                client.setblocking(False)
                await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", port))
            await until(lambda: counts["descriptors"] >= 20)
            for client in clients:
                client.close()
            await until(lambda: not at_kernel(port))
            await until(lambda: answered(port))
    assert not caplog.records, "a traceback for each would fill the disk"


@pytest.mark.slow
async def test_thousands_that_connect_and_reset_leave_nothing(server: ServerName) -> None:
    app = App()
    async with served(app, server) as (port, _):
        assert await answered(port)
        files = psutil.Process().num_fds()
        tasks = len(asyncio.all_tasks())
        for number in range(2000):
            with socket.socket() as client:
                client.setblocking(False)
                await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", port))
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                with suppress(BlockingIOError):
                    client.send((b"", b"GET / HT", GET, QUIET)[number % 4])
        await until(lambda: psutil.Process().num_fds() <= files and len(asyncio.all_tasks()) <= tasks)
        assert not at_kernel(port)
        assert await answered(port)
        assert app.streams == 0
