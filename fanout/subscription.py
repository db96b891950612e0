"""One Redis node's way in: one connection, one reader, one task that writes subscribes.

    down ──connect, SSUBSCRIBE everything wanted──► joining ──all confirmed──► joined
      ▲                                                │                         │
      └──── any error, or a confirmation or unsubscribe that nobody asked for ───┘

Whoever listens learns of every way to have missed something: `interrupted` when a connection is thrown away, `joined` when a
new one is complete.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol

from core import fail_points
from core.clock import Clock, happens
from core.errors import RedisUnavailableError
from core.fail_points import Point
from core.supervise import Attempt, supervise
from fanout.channels import SUBSCRIBE, UNSUBSCRIBE, Channels, Command
from fanout.connection import RedisConfig, RedisConnection, open_connection

JOIN_TIMEOUT = 5.0
# Messages handled in one turn of the event loop, so that a burst leaves time for the streams it is for.
_TURN = 64


class Listener(Protocol):
    """Who gets what the subscription hears."""

    def arrived(self, channel: bytes, payload: bytes) -> None:
        """A message, in the order of arrival."""

    def joined(self) -> None:
        """Every channel wanted when the connection was made is confirmed on it."""

    def interrupted(self) -> None:
        """The connection is gone: whatever came after the last message heard may be missing."""


class _DoomedError(Exception):
    """The connection is to be replaced."""


class Subscription:
    """Keeps the wanted channels of one node subscribed, for as long as `run` runs."""

    def __init__(self, redis: RedisConfig, always: Iterable[bytes], listener: Listener, clock: Clock) -> None:
        self._redis = redis
        self._listener = listener
        self._clock = clock
        self._channels = Channels(always)
        self._change = asyncio.Event()
        self._joined = asyncio.Event()
        self._doomed = asyncio.Event()

    async def run(self) -> None:
        """Connect and reconnect; returns only by cancellation."""
        await supervise("redis subscription", self._connected_once, clock=self._clock)

    @property
    def channels(self) -> int:
        """How many channels are subscribed or about to be."""
        return len(self._channels)

    def reconnect(self) -> None:
        """Throw the connection away and make a new one: this one is silent, or not to be trusted."""
        self._doomed.set()

    @contextmanager
    def counted(self, channel: bytes) -> Iterator[None]:
        """One more stream wants `channel`, until the end of the block."""
        self._channels.add(channel)
        self._change.set()
        try:
            yield
        finally:
            self._channels.remove(channel)
            self._change.set()

    async def confirmed(self, channel: bytes) -> None:
        """Return once what is published on `channel` is heard, or will be re-read when the connection is joined."""
        confirmation = self._channels.confirmation(channel)
        if confirmation is not None:
            await confirmation

    async def _connected_once(self, attempt: Attempt) -> None:
        self._doomed.clear()
        self._joined.clear()
        async with open_connection(self._redis, name="rowcast-web") as connection:
            commands = self._channels.connected()
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._write(connection, commands), name="redis subscriber")
                    tasks.create_task(self._read(connection), name="redis reader")
                    tasks.create_task(self._watch(attempt), name="redis watch")
            except* _DoomedError:
                pass  # asked for, by somebody who has said why
            finally:
                self._channels.lost()
                self._listener.interrupted()

    async def _watch(self, attempt: Attempt) -> None:
        if not await happens(self._joined, JOIN_TIMEOUT):
            raise RedisUnavailableError("Redis did not confirm the subscriptions in time.")
        attempt.succeeded()
        due = 0
        while not await happens(self._doomed, JOIN_TIMEOUT):
            # Marks may still be heard on a way that carries nothing to Redis; whoever waits for a confirmation would wait for ever.
            if self._channels.answers < due:
                raise RedisUnavailableError("Redis did not confirm a subscription in time.")
            due = self._channels.asked
        raise _DoomedError

    async def _write(self, connection: RedisConnection, commands: list[Command]) -> None:
        while True:
            if commands:
                await connection.send(commands)
                if fail_points.armed and any(word == SUBSCRIBE for word, _ in commands):
                    await fail_points.reach(Point.ASKED)
            await self._change.wait()
            self._change.clear()
            commands = self._channels.due()

    async def _read(self, connection: RedisConnection) -> None:
        while True:
            for _ in range(_TURN):
                self._handle(await connection.receive())
            await asyncio.sleep(0)

    def _handle(self, reply: list[bytes]) -> None:
        match reply:
            case [b"smessage", channel, payload]:
                self._listener.arrived(channel, payload)
            case [b"ssubscribe", channel, _] if self._channels.answered(SUBSCRIBE, channel):
                self._announce_joined()
            case [b"sunsubscribe", channel, _] if self._channels.answered(UNSUBSCRIBE, channel):
                pass
            case _:
                raise RedisUnavailableError(f"Redis sent what nobody asked for: {reply!r:.80}")

    def _announce_joined(self) -> None:
        if self._channels.joined and not self._joined.is_set():
            self._joined.set()
            self._listener.joined()
