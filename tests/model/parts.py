"""The processes of Rowcast, as they are, on the modelled machine: bridges, and web processes with the streams they serve."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from typing import Any, cast

from bridge.config import BridgeConfig
from bridge.service import Bridge
from core.user_ids import UserIdType
from db.history import History
from db.preflight import DatabaseFacts
from fanout.buckets import Buckets
from fanout.connection import RedisConfig
from tests.model.driver import Driver, Pool
from tests.model.loop import Loop, Process
from web.config import WebConfig
from web.hub import Hub
from web.stream import Start, Stream

BUCKETS = 2
REDIS = RedisConfig("redis://model")
POSTGRES = "postgresql://model"
FACTS = DatabaseFacts(UserIdType.BIGINT, BUCKETS, 180000, 1)
BATCH = 3
# Chunks that a connection takes before the server has to wait for the reader.
WINDOW = 2


class ModelClock:
    """The machine's time, and the walk's chance."""

    def __init__(self, loop: Loop, chance: random.Random) -> None:
        self._loop = loop
        self._chance = chance

    def now(self) -> float:
        return self._loop.now

    def time(self) -> float:
        return self._loop.now

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def jitter(self, low: float, high: float) -> float:
        return self._chance.uniform(low, high)


class Part:
    """A process that can be started, frozen, killed and asked to stop, any number of times."""

    def __init__(self, name: str, loop: Loop, clock: ModelClock) -> None:
        self.name = name
        self.loop = loop
        self.clock = clock
        self.starts = 0
        self.process = Process(name)
        self.process.alive = False
        self.main: asyncio.Task[Any] | None = None
        self.stopping = False

    @property
    def alive(self) -> bool:
        return self.process.alive

    @property
    def failure(self) -> BaseException | None:
        """What its main task ended with, if it did so by itself."""
        if self.main is None or not self.main.done() or self.main.cancelled():
            return None
        return self.main.exception()

    def start(self) -> None:
        """A new process."""
        self.starts += 1
        self.stopping = False
        self.process = Process(f"{self.name}.{self.starts}")
        self.main = self.loop.start(self.process, self._run())

    def stop(self) -> None:
        """SIGTERM."""
        self.stopping = True
        self.loop.call_in(self.process, self._stop)

    def _run(self) -> Coroutine[Any, Any, None]:
        raise NotImplementedError

    def _stop(self) -> None:
        raise NotImplementedError


class BridgePart(Part):
    """One `rowcast bridge`."""

    bridge: Bridge

    def _run(self) -> Coroutine[Any, Any, None]:
        self.bridge = Bridge(BridgeConfig(POSTGRES, batch=BATCH), REDIS, "r", self.clock)
        return self.bridge.run()

    def _stop(self) -> None:
        self.bridge.stop()


class Response:
    """One answer to GET /events: chunks that the server wrote and the browser has not read."""

    def __init__(self) -> None:
        self.chunks: deque[bytes] = deque()
        self.ended = False  # by the server, cleanly
        self.broken = False
        self.task: asyncio.Task[None] | None = None
        self._room: asyncio.Future[None] | None = None

    async def write(self, chunk: bytes) -> None:
        self.chunks.append(chunk)
        while len(self.chunks) > WINDOW:
            self._room = asyncio.get_running_loop().create_future()
            await self._room

    def read(self) -> bytes:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        return self.chunks.popleft()


class WebPart(Part):
    """One `rowcast web`: a hub, its pools and its open streams."""

    hub: Hub

    def __init__(self, name: str, loop: Loop, clock: ModelClock, driver: Driver, config: WebConfig) -> None:
        super().__init__(name, loop, clock)
        self._driver = driver
        self._config = config
        self.responses: set[Response] = set()

    def _run(self) -> Coroutine[Any, Any, None]:
        self._history = History(
            cast(Any, Pool(self._driver, "rowcast-web", 2)),
            cast(Any, Pool(self._driver, "rowcast-web-reread", 1)),
            cast(Any, Pool(self._driver, "rowcast-web-backlog", 1)),
        )
        self.hub = Hub(REDIS, Buckets(BUCKETS, "r"), self._history, self.clock)
        self.responses = set()
        return self.hub.run()

    def _stop(self) -> None:
        self.loop.create_task(self._drain(self.process), name="drain")

    async def _drain(self, process: Process) -> None:
        await self.hub.drain(2.5)
        if self.main is not None:
            self.main.cancel()
        process.dies, process.allowance = True, 20

    def open(self, user_id: str, start: Start) -> Response:
        """A browser asks for its stream."""
        response = Response()
        stream = Stream(self.hub, self._history, self._config, self.clock, user_id=user_id, start=start)
        response.task = self.loop.start(self.process, self._serve(stream, response))
        self.responses.add(response)
        return response

    def hang_up(self, response: Response) -> None:
        """The browser, or the network, is gone; the server hears of it and cancels."""
        response.broken = True
        response.chunks.clear()
        self.responses.discard(response)
        task = response.task
        if task is not None:
            self.loop.call_in(self.process, task.cancel)

    async def _serve(self, stream: Stream, response: Response) -> None:
        async with aclosing(cast(AsyncGenerator[bytes, None], stream.frames())) as frames:
            async for chunk in frames:
                await response.write(chunk)
        response.ended = True
        self.responses.discard(response)
