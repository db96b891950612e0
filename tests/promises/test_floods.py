"""Rows 27, 28 and 30 of the fault matrix on real processes: who floods is ended, who doesn't gets everything, and nothing stays behind."""

from __future__ import annotations

import asyncio
import json
import resource
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path

import pytest

from tests.event_source import open_stream
from tests.promises.baseline import usage
from tests.rig import Process, Rig
from tests.rowcast.served import at_kernel, connect, stuck
from tests.waiting import until
from tests.wire import wire

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

STUCK = 200
FREED = 30.0  # seconds
# Memory: the 300 KB of history that each reader was read once. The allocator keeps that for the next, and does not hand it back to the system.
MORE_FILES, MORE_MEMORY = 8, 96 << 20
HISTORY = 30
LONG = 200  # more than the wire and all kernels take
_HISTORY = (
    "INSERT INTO notifications (user_id, message) SELECT 1, n || repeat('x', 10000) FROM generate_series(1, %s) n"
)
HELLO = b"event: hello"


@asynccontextmanager
async def flooded(own: Rig) -> AsyncIterator[tuple[int, Process]]:
    """A web process, at whose end no more is held than in the beginning."""
    await own.bridge()
    url, web = await own.web()
    async with open_stream(f"{url}/events/9") as warm:
        await warm.live()
    before = usage(web)
    yield int(url.rpartition(":")[2]), web
    await until(lambda: usage(web).files <= before.files + MORE_FILES, timeout=FREED)
    assert usage(web).memory <= before.memory + MORE_MEMORY
    assert "Traceback" not in web.log


def told(web: Process, cap: str) -> list[int]:
    """The counts of the log's lines about a cap."""
    lines = [json.loads(line) for line in web.log.splitlines() if line.startswith("{")]
    return [line["count"] for line in lines if line["event"] == "limit.reached" and line["cap"] == cap]


async def test_hundreds_that_read_nothing_or_a_byte_a_second_are_freed_and_others_get_their_rows(own: Rig) -> None:
    async with flooded(own) as (port, web), own.sql() as sql:
        await sql.execute(_HISTORY, (HISTORY,))
        ask = b"GET /events/1?since=all HTTP/1.1\r\nHost: x\r\n\r\n"
        async with open_stream(f"http://127.0.0.1:{port}/events/2") as good:
            await good.live()
            with ExitStack() as ends:
                readers = [ends.enter_context(stuck(port, ask)) for _ in range(STUCK)]
                kept = len(at_kernel(port))
                assert kept >= STUCK
                end = asyncio.get_running_loop().time() + FREED
                number = 0
                while len(at_kernel(port)) > kept - STUCK:
                    assert asyncio.get_running_loop().time() < end, f"{len(at_kernel(port))} of {kept} are still there"
                    assert max(at_kernel(port)) < 300_000
                    for reader in readers[::2]:
                        with suppress(BlockingIOError, ConnectionResetError):
                            reader.setblocking(False)
                            reader.recv(1)
                    number += 1
                    await own.insert(2, f"row {number}")
                    await good.until(lambda: len(good.messages) == number)  # noqa: B023 -- waited for at once
                    await asyncio.sleep(0.5)  # the pace of the readers
        assert told(web, "slow_readers")


async def test_who_stopped_reading_and_comes_back_has_lost_nothing(own: Rig) -> None:
    async with flooded(own) as (port, web), own.sql() as sql, wire(f"http://127.0.0.1:{port}") as to_web:
        await sql.execute(_HISTORY, (LONG,))
        to_web.throttle(200_000)
        async with open_stream(f"{to_web.url}/events/1?since=all") as reader:
            await reader.until(lambda: len(reader.notifications) > 0)
            to_web.hold(up=False)
            await web.logged("slow_readers", timeout=FREED + 15)
            to_web.heal()
            await reader.until(lambda: len(reader.notifications) >= LONG, timeout=FREED)
            numbers = [int(one.rstrip("x")) for one in reader.messages]
            assert numbers == list(range(1, LONG + 1))


async def test_thousands_that_connect_ask_twice_and_leave_are_forgotten(own: Rig) -> None:
    async with flooded(own) as (port, web):
        said = b"GET /events/1 HTTP/1.1\r\nHost: x\r\n\r\n"
        for number in range(3000):
            reader, writer = await connect(port, (b"", b"GET / HT", said, said + said)[number % 4])
            end: socket.socket = writer.get_extra_info("socket")
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if number % 8 == 3:
                await reader.readuntil(HELLO)  # the stream runs, and the second request waits
            writer.transport.abort()
        await until(lambda: not at_kernel(port), timeout=FREED)
        assert not told(web, "broken_connections")


async def test_without_descriptors_streams_go_on_and_all_is_well_once_there_are_some(own: Rig) -> None:
    async with flooded(own) as (port, web):
        async with open_stream(f"http://127.0.0.1:{port}/events/1") as good:
            await good.live()
            limit = resource.prlimit(web.pid, resource.RLIMIT_NOFILE)
            resource.prlimit(
                web.pid, resource.RLIMIT_NOFILE, (len(list(Path(f"/proc/{web.pid}/fd").iterdir())) + 20, limit[1])
            )
            with ExitStack() as ends:
                clients = [ends.enter_context(stuck(port, b"GET ")) for _ in range(100)]
                await web.logged("descriptors")
                await own.insert(None, "for all")
                await good.until(lambda: len(good.messages) == 1)
                assert len(clients) == 100
            async with open_stream(f"http://127.0.0.1:{port}/events/2") as later:
                await later.live()
                await own.insert(2, "again")
                await later.until(lambda: "again" in later.messages)
        assert len(told(web, "descriptors")) == 1, "the log is to be told once a minute"
