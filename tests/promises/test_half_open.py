"""A way to Redis that is open and carries nothing, or only one way: row 21 of the fault matrix in docs/delivery.md."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from fanout.buckets import Buckets
from fanout.connection import RedisConfig, open_connection
from tests.db.databases import Databases
from tests.event_source import open_stream
from tests.fanout.listening import subscribe
from tests.promises.health import unready
from tests.promises.load import under_load
from tests.promises.wired import Wired, wired
from tests.waiting import running, until
from tests.wire import Wire

pytestmark = pytest.mark.slow


@pytest.fixture
async def broken(databases: Databases) -> AsyncIterator[Wired]:
    async with wired(databases) as made:
        yield made


@pytest.mark.parametrize(("where", "seconds"), [("web", 12.0), ("bridge", 12.0), ("both", 60.0)])
async def test_a_way_to_redis_that_swallows_everything_delays_rows_by_seconds(
    broken: Wired, where: str, seconds: float
) -> None:
    ways = {"web": [broken.web_wire], "bridge": [broken.bridge_wire], "both": [broken.web_wire, broken.bridge_wire]}
    async with under_load(broken.own, broken.url, pause=0.5) as load, broken.fault(load):
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        for way in ways[where]:
            way.black_hole()
        await unready(broken.url, broken.web)
        while loop.time() < end:
            await load.flows(within=8)
        await unready(broken.url, broken.web)
        for way in ways[where]:
            way.heal()


async def test_a_batch_whose_answer_was_lost_is_sent_twice_and_delivered_once(broken: Wired) -> None:
    async with (
        _marks_heard(broken) as marks,
        under_load(broken.own, broken.url) as load,
        broken.fault(load),
    ):
        for _ in range(10):
            while not await _loses_the_answer_to_rows(broken.bridge_wire):
                broken.bridge_wire.heal()
                await load.flows()
            twice = _twice(marks)
            broken.bridge_wire.heal()
            await until(lambda twice=twice: _twice(marks) > twice)  # type: ignore[misc]
            await load.flows()


async def _loses_the_answer_to_rows(wire: Wire) -> bool:
    """Was what the answer was lost to a batch with rows? A mark alone, the heartbeat, is not sent again."""
    wire.swallowed["down"].clear()
    wire.black_hole(up=False)
    await wire.swallows(b"QUEUED")
    return b"QUEUED\r\n+QUEUED" in wire.swallowed["down"]


def _twice(marks: Counter[bytes]) -> int:
    return sum(times > 1 for times in marks.values())


@asynccontextmanager
async def _marks_heard(broken: Wired) -> AsyncIterator[Counter[bytes]]:
    """How often each mark of a batch came, to a subscriber of the test's own."""
    heard: Counter[bytes] = Counter()

    async def listen() -> None:
        async with open_connection(RedisConfig(broken.valkey.url), name="test") as raw:
            await subscribe(raw, Buckets(1, broken.own.prefix).marks(0))
            while True:
                _, _, mark = await raw.receive()
                start, end = mark.rstrip(b"}").split(b'"from":')[1].split(b',"to":')
                heard[mark] += start != end

    async with running(listen()):
        yield heard


async def test_a_subscription_nobody_answers_for_holds_no_new_stream_up(broken: Wired) -> None:
    """What the web process says is lost, what Redis says arrives: marks go on, and a new user's channel is never confirmed."""
    async with under_load(broken.own, broken.url) as load, broken.fault(load):
        broken.web_wire.black_hole(down=False)
        async with open_stream(f"{broken.url}/events/9?since=now") as stream:
            await stream.live()
            await broken.own.insert(9, "for the new one")
            await stream.until(lambda: "for the new one" in stream.messages)
        await load.flows()
        broken.web_wire.heal()
