"""A hub on a real log and a real Valkey, without a bridge: the test stamps, and publishes when and what it likes."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

import redis.asyncio as redis

from core.clock import Clock, SystemClock
from core.events import Range
from db.history import History
from fanout.buckets import Buckets
from fanout.connection import RedisConfig
from fanout.messages import Message, encode_message
from fanout.nodes import Nodes
from fanout.publisher import Batch, Publisher
from tests.event_source import Dispatched, Parser
from tests.fanout.listening import ask
from tests.waiting import running, until
from tests.web.log import Log, open_log, span
from web.auth.caller import ANYBODY, Caller
from web.config import WebConfig
from web.hub import Hub
from web.stream import Start, Stream


@dataclass
class Air:
    """What is published here, a hub hears."""

    log: Log
    history: History
    hub: Hub
    names: Buckets
    redis_url: str
    clock: Clock
    publisher: Publisher
    config: WebConfig = field(default_factory=WebConfig)

    async def publish(self, messages: list[Message], mark: Range | None = None) -> None:
        """These messages and their mark, as the bridge would."""
        pairs = []
        for message in messages:
            user_id = message.event.user_id
            channel = self.names.everyone(0) if user_id is None else self.names.user(user_id)
            pairs.append((channel, encode_message(message.event, message.start)))
        assert await self.publisher.offer(Batch(mark or span(messages), pairs))

    async def say(self, channel: bytes, payload: bytes) -> None:
        """Anything, on any channel."""
        async with redis.Redis.from_url(self.redis_url) as client:
            await ask(client, "SPUBLISH", channel, payload)

    async def send(self, *users: int | None) -> list[int]:
        """Rows for these users, stamped and published; their seqs."""
        messages = await self.log.add(*users)
        await self.publish(messages)
        return [message.event.seq for message in messages]

    @asynccontextmanager
    async def reading(self, user_id: int, start: Start, config: WebConfig | None = None) -> AsyncIterator[Reader]:
        """A client that reads as fast as it can."""
        async with self.by_hand(user_id, start, config) as reader, running(reader.run()):
            yield reader

    @asynccontextmanager
    async def by_hand(
        self, user_id: int, start: Start, config: WebConfig | None = None, caller: Caller = ANYBODY
    ) -> AsyncIterator[Reader]:
        """A client that reads when the test says so."""
        stream = Stream(
            self.hub, self.history, config or self.config, self.clock, user_id=str(user_id), start=start, caller=caller
        )
        async with aclosing(cast(AsyncGenerator[bytes, None], stream.frames())) as frames:
            yield Reader(frames)


class Reader:
    """One response, read chunk by chunk."""

    def __init__(self, frames: AsyncIterator[bytes]) -> None:
        self._frames = frames
        self._parser = Parser()
        self.raw = b""
        self.chunks: list[bytes] = []
        self.events: list[Dispatched] = []
        self.ended = False

    async def read(self) -> bool:
        """One more chunk; False at the end."""
        chunk = await anext(self._frames, None)
        if chunk is None:
            self.ended = True
            return False
        self.raw += chunk
        self.chunks.append(chunk)
        self.events += self._parser.feed(chunk)
        return True

    async def until_hello(self) -> None:
        """Read up to the greeting."""
        while not self.of_type("hello"):
            assert await self.read()

    async def run(self) -> None:
        while await self.read():
            pass

    @property
    def last_event_id(self) -> str:
        return self._parser.last_event_id

    @property
    def seqs(self) -> list[int]:
        """Of the notifications so far."""
        return [int(event.last_event_id) for event in self.events if event.type == "message"]

    def of_type(self, kind: str) -> list[Dispatched]:
        return [event for event in self.events if event.type == kind]

    async def live(self) -> int:
        await until(lambda: bool(self.of_type("hello")))
        return int(self.of_type("hello")[0].json["seq"])

    async def gets(self, *expected: int) -> None:
        """Exactly these seqs came, in this order."""
        try:
            await until(lambda: len(self.seqs) >= len(expected))
        finally:
            assert self.seqs == list(expected)

    async def end(self) -> None:
        await until(lambda: self.ended)


@asynccontextmanager
async def open_air(
    url: str,
    redis_url: str,
    clock: Clock | None = None,
    *,
    refuses: Callable[[Caller], str | None] = lambda _: None,
) -> AsyncIterator[Air]:
    """A hub that is joined up, over a migrated database."""
    clock = clock or SystemClock()
    names = Buckets(1, f"t{uuid.uuid4().hex[:8]}")
    async with open_log(url) as (log, history):
        hub = Hub(RedisConfig(redis_url), names, history, clock, refuses=refuses)
        publisher = Publisher(Nodes(RedisConfig(redis_url), names, clock), names, 0, clock)
        async with running(hub.run(), publisher.run()):
            await until(hub.connected)
            yield Air(log, history, hub, names, redis_url, clock, publisher)


async def together(*readers: Reader) -> None:
    """All of them are live."""
    await asyncio.gather(*(reader.live() for reader in readers))
