"""Streams that start while rows come, held up or killed at each step of the start: nothing between backlog and live is lost or doubled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from signal import SIGKILL

import pytest

from core.clock import happens
from core.fail_points import Point
from tests.event_source import open_stream
from tests.promises.load import under_load
from tests.rig import Process, Rig, free_port
from tests.wire import Wire, wire

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

STEPS = (Point.ASKED, Point.CONFIRMED, Point.BACKLOG_READ, Point.LIVE)
STARTS = 15
# The first time a process asks for the channels that it always wants.
KILLED = dict.fromkeys(STEPS, 3) | {Point.ASKED: 2, Point.REREAD: 1}


@pytest.mark.parametrize("held_up", [*[(step,) for step in STEPS], (*STEPS, Point.REREAD)], ids="+".join)
async def test_rows_that_come_between_two_steps_of_a_start_come_once(own: Rig, held_up: tuple[Point, ...]) -> None:
    """Each step takes long while rows go on coming, for streams that start new and for such that come back, again and again. Redis is
    far away, and sometimes its connection is cut."""
    await own.bridge()
    slow = ",".join(f"{step}=pause:0.2%70" for step in held_up)
    async with wire(own.redis_url) as redis:
        redis.delay(0.05)
        url, _ = await own.web(fail_points=slow, redis_url=redis.url)
        await starts(own, url, redis)


async def starts(own: Rig, url: str, redis: Wire) -> None:
    async with wire(url) as way, under_load(own, url, way.url, pause=0.02) as load:
        for user in range(100, 100 + STARTS):
            way.reset()
            if user % 3 == 0:
                redis.reset()
            await start(own, url, user)
        load.writer.unharmed()


async def start(own: Rig, url: str, user: int) -> None:
    """A user whose first stream this is, and whose rows come all the while."""
    async with inserting(own, user), open_stream(f"{url}/events/{user}?since=now", reconnect=False) as stream:
        began = await stream.live()
        greeted = len(stream.events)
        await stream.until(lambda: len(stream.events) > greeted + 20)
        messages = stream.messages
    async with own.sql() as sql:
        rows = await sql.execute(
            "SELECT message FROM notifications WHERE seq > %s AND coalesce(user_id, %s) = %s ORDER BY seq LIMIT %s",
            (began, user, user, len(messages)),
        )
        assert messages == [message for (message,) in await rows.fetchall()]


@asynccontextmanager
async def inserting(own: Rig, user: int) -> AsyncIterator[None]:
    """A row for that user every few milliseconds, until the end of the block."""
    over = asyncio.Event()

    async def insert() -> None:
        async with own.sql() as sql:
            for number in count():
                if await happens(over, 0.002):
                    return
                await sql.execute("INSERT INTO notifications (user_id, message) VALUES (%s, %s)", (user, str(number)))

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(insert(), name="insert")
        try:
            yield
        finally:
            over.set()


async def test_a_web_process_killed_at_any_step_of_a_start_loses_and_doubles_nothing(own: Rig) -> None:
    await own.bridge()
    port = free_port()
    url, web = await own.web(port=port)
    async with under_load(own, url) as load:
        for step, nth in KILLED.items():
            await web.kill()
            url, web = await own.web_unready(port=port, fail_points=f"{step}=kill@{nth}")
            async with asyncio.timeout(30):
                await keep_coming(url, web)
            assert await web.ended() == -SIGKILL
            assert "fail_point.reached" in web.log
            url, web = await own.web_unready(port=port)
            await load.flows(within=20)


async def keep_coming(url: str, web: Process) -> None:
    """One new user's stream after the other, until that process is gone."""
    for user in count(10):
        async with open_stream(f"{url}/events/{user}", reconnect=False) as stream:
            await stream.until(lambda: stream.ends > 0 or bool(stream.of_type("hello")))
        if web.process is None or web.process.returncode is not None:
            return
