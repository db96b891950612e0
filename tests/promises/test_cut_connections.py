"""The ways to Redis cut in the middle of a message: row 20 of the fault matrix in docs/delivery.md."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack

import pytest

from fanout.buckets import Buckets
from tests.db.databases import Databases
from tests.fanout.own_valkey import OwnValkey
from tests.promises.load import USERS, under_load
from tests.promises.wired import Wired, wired
from tests.waiting import until
from tests.wire import Wire, wire
from tests.wire_connection import Direction

pytestmark = pytest.mark.slow

CUTS = 1000
MORE_WEBS = 3
NAMES = Buckets(1, "own")
CHANNELS = [NAMES.marks(0), NAMES.everyone(0), *(NAMES.user(str(user)) for user in USERS)]
# What Redis says before the first message: four times OK, what it is, and a confirmation for each channel. A cut before that is a lost attempt,
# with a pause.
GREETING = 4 * len("+OK\r\n") + sum(
    len(f"*3\r\n$10\r\nssubscribe\r\n$18\r\n{name.decode()}\r\n:1\r\n") for name in CHANNELS
)


@pytest.fixture
async def broken(databases: Databases) -> AsyncIterator[Wired]:
    async with wired(databases) as made:
        yield made


async def length_of_hello(valkey: OwnValkey) -> int:
    """How many bytes it takes to say what it is."""
    reader, writer = await asyncio.open_connection("127.0.0.1", valkey.port)
    password = valkey.url.removeprefix("redis://:").partition("@")[0]
    writer.write(f"AUTH {password}\r\nHELLO\r\nPING\r\n".encode())
    said = await reader.readuntil(b"+PONG\r\n")
    writer.close()
    return len(said) - len("+OK\r\n+PONG\r\n")


async def cut_again_and_again(way: Wire, offsets: Iterable[int], direction: Direction = "down") -> None:
    """Each connection after another number of bytes."""
    for offset in offsets:
        opened = way.opened
        way.cut_after(offset, direction)
        await until(lambda opened=opened: way.opened > opened, timeout=30)  # type: ignore[misc]
    way.heal()


async def test_a_subscription_cut_after_any_number_of_bytes_a_thousand_times_misses_nothing(broken: Wired) -> None:
    """In a message, in a mark, between the two; four web processes share the offsets."""
    async with AsyncExitStack() as stack:
        ways, urls = [broken.web_wire], [broken.url]
        for _ in range(MORE_WEBS):
            ways.append(await stack.enter_async_context(wire(broken.valkey.url)))
            urls.append((await broken.own.web(redis_url=ways[-1].url))[0])
        load = await stack.enter_async_context(under_load(broken.own, *urls))
        async with broken.fault(load), asyncio.TaskGroup() as tasks:
            greeting = GREETING + await length_of_hello(broken.valkey)
            for number, way in enumerate(ways):
                tasks.create_task(cut_again_and_again(way, range(greeting + number, greeting + CUTS, len(ways))))
    assert sum(way.opened for way in ways) > CUTS


@pytest.mark.parametrize("direction", ["up", "down"])
async def test_a_publisher_cut_after_any_number_of_bytes_loses_and_doubles_nothing(
    broken: Wired, direction: Direction
) -> None:
    """On the way to Redis: half a batch, that Redis throws away. On the way back: a batch that was taken, and is sent again."""
    async with under_load(broken.own, broken.url) as load, broken.fault(load):
        await cut_again_and_again(broken.bridge_wire, range(800, 2400, 20), direction)
