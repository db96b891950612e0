"""One Redis node's way in: one connection, one reader, one task that writes subscribes, for the buckets that this node serves.

    down ──connect, SSUBSCRIBE everything wanted──► joining ──all of a bucket confirmed──► joined
      ▲                                                │                                     │
      └──── any error, or a confirmation or unsubscribe that nobody asked for ───────────────┘

Whoever listens learns of every way to have missed something: a bucket is `interrupted` when its connection is thrown away, `joined` when a
new one is complete.

A node of a cluster that gives a slot away says so: it unsubscribes the channels of that slot, or answers MOVED. Then that bucket leaves the
connection, and nothing that this connection brings counts for it ever again; for the bucket it is thrown away. Should the bucket come back to
this node, it gets a new one. The others have seen nothing that they did not ask for, and stay.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from core import fail_points
from core.clock import Clock, happens
from core.errors import RedisUnavailableError
from core.fail_points import Point
from core.supervise import Attempt, first_cause, supervise
from fanout.buckets import Buckets
from fanout.channels import SUBSCRIBE, UNSUBSCRIBE, Channels, Command
from fanout.connection import RedisConfig, RedisConnection, SlotMovedError
from fanout.nodes import Nodes
from fanout.reach import open_redis

JOIN_TIMEOUT = 5.0
# Messages handled in one turn of the event loop, so that a burst leaves time for the streams it is for.
_TURN = 512


class Listener(Protocol):
    """Who gets what is heard."""

    def arrived(self, channel: bytes, payload: bytes) -> None:
        """A message, in the order of arrival."""

    def joined(self, bucket: int) -> None:
        """Every channel of the bucket that was wanted when its connection was made is confirmed on it."""

    def interrupted(self, bucket: int) -> None:
        """The bucket's connection is gone: whatever came after the last message heard may be missing."""


class _DoomedError(Exception):
    """The connection is to be replaced."""


class Subscription:
    """Keeps the wanted channels of the buckets that one node serves subscribed, for as long as `run` runs."""

    def __init__(self, place: RedisConfig, nodes: Nodes, names: Buckets, listener: Listener, clock: Clock) -> None:
        self._place = place
        self._nodes = nodes
        self._names = names
        self._listener = listener
        self._clock = clock
        self._held: dict[int, Channels] = {}
        self._changed: set[int] = set()  # buckets with something to write
        self._left: dict[int, int] = {}  # buckets that this connection is over for, and when they left
        self._told: set[int] = set()  # those that are joined on it
        self._change = asyncio.Event()
        self._joined = asyncio.Event()
        self._doomed = asyncio.Event()

    async def run(self) -> None:
        """Connect and reconnect; returns only by cancellation."""
        name = "redis subscription" if self._place.at is None else f"redis subscription {self._place}"
        await supervise(name, self._connected_once, clock=self._clock)

    @property
    def buckets(self) -> frozenset[int]:
        """Those that it keeps subscribed."""
        return frozenset(self._held)

    def adopt(self, bucket: int, channels: Channels) -> None:
        """Keep these subscribed from now on; but a bucket that was sent away from here only if that proves to be over."""
        if bucket in self._left and not self._nodes.asked_since(self._left[bucket]):
            return
        self._held[bucket] = channels
        if bucket in self._left:
            self.reconnect()
        self.changed(bucket)

    def release(self, bucket: int) -> None:
        """Another node serves the bucket, though this one has not said so: its connection can't be trusted any more."""
        self._leave(bucket)
        self.reconnect()

    def changed(self, bucket: int) -> None:
        """Other channels of the bucket are wanted than before."""
        self._changed.add(bucket)
        self._change.set()

    def reconnect(self) -> None:
        """Throw the connection away and make a new one: this one is silent, or not to be trusted."""
        self._doomed.set()

    async def _connected_once(self, attempt: Attempt) -> None:
        self._doomed.clear()
        self._joined.clear()
        self._left.clear()
        self._told.clear()
        try:
            async with open_redis(self._place, name="rowcast-web") as connection:
                if await self._nodes.admit(self._place, connection) is not None:
                    await self._hear(connection, attempt)
        except* RedisUnavailableError as errors:
            self._nodes.failed(self._place, first_cause(errors))
            raise
        except* _DoomedError:
            pass  # asked for, by somebody who has said why

    async def _hear(self, connection: RedisConnection, attempt: Attempt) -> None:
        self._changed.update(self._held)
        commands = self._due()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._write(connection, commands), name="redis subscriber")
                tasks.create_task(self._read(connection), name="redis reader")
                tasks.create_task(self._watch(attempt), name="redis watch")
        finally:
            for bucket in list(self._held):
                self._lose(bucket)

    def _due(self) -> list[Command]:
        """The commands to write now."""
        commands: list[Command] = []
        for bucket in sorted((self._changed - self._left.keys()) & self._held.keys()):
            channels = self._held[bucket]
            commands += channels.due() if channels.up else channels.connected()
        self._changed.clear()
        return commands

    async def _watch(self, attempt: Attempt) -> None:
        if not await happens(self._joined, JOIN_TIMEOUT):
            raise RedisUnavailableError("Redis did not confirm the subscriptions in time.")
        attempt.succeeded()
        due: dict[int, int] = {}
        while not await happens(self._doomed, JOIN_TIMEOUT):
            # Marks may still be heard on a way that carries nothing to Redis; whoever waits for a confirmation would wait for ever.
            if any(channels.answers < due.get(bucket, 0) for bucket, channels in self._held.items()):
                raise RedisUnavailableError("Redis did not confirm a subscription in time.")
            due = {bucket: channels.asked for bucket, channels in self._held.items() if bucket not in self._left}
        raise _DoomedError

    async def _write(self, connection: RedisConnection, commands: list[Command]) -> None:
        while True:
            if commands:
                await connection.send(commands)
                if fail_points.armed and any(word == SUBSCRIBE for word, _ in commands):
                    await fail_points.reach(Point.ASKED)
            await self._change.wait()
            self._change.clear()
            commands = self._due()

    async def _read(self, connection: RedisConnection) -> None:
        while True:
            for _ in range(_TURN):
                try:
                    reply = await connection.receive()
                except SlotMovedError as error:
                    self._slot_moved(error)
                else:
                    self._handle(reply)
            await asyncio.sleep(0)

    def _handle(self, reply: list[bytes]) -> None:
        match reply:
            case [b"smessage", channel, payload]:
                if not self._left or self._names.number(channel) not in self._left:
                    self._listener.arrived(channel, payload)
            case [b"ssubscribe", channel, _] if self._answered(SUBSCRIBE, channel):
                self._announce_joined(channel)
            case [b"sunsubscribe", channel, _] if self._answered(UNSUBSCRIBE, channel):
                pass
            case [b"sunsubscribe", channel, _] if self._nodes.clustered and self._names.number(channel) in self._held:
                self._leave(self._names.number(channel))
                self._nodes.sent_away(self._place)
            case _:
                raise RedisUnavailableError(f"Redis sent what nobody asked for: {reply!r:.80}")

    def _answered(self, command: bytes, channel: bytes) -> bool:
        bucket = self._names.number(channel)
        if bucket in self._left:
            return True  # for whoever it was
        return bucket in self._held and self._held[bucket].answered(command, channel)

    def _announce_joined(self, channel: bytes) -> None:
        bucket = self._names.number(channel)
        if bucket not in self._left and bucket not in self._told and self._held[bucket].joined:
            self._told.add(bucket)
            self._listener.joined(bucket)
        self._look_whether_joined()

    def _look_whether_joined(self) -> None:
        if self._told >= self._held.keys():
            self._joined.set()

    def _slot_moved(self, error: SlotMovedError) -> None:
        gone = [bucket for bucket in self._nodes.in_slot(error.slot) if bucket in self._held or bucket in self._left]
        if not gone:
            raise error
        for bucket in gone:
            self._leave(bucket)
        self._nodes.failed(self._place, error)

    def _leave(self, bucket: int) -> None:
        """This connection is over for the bucket."""
        self._lose(bucket)
        self._held.pop(bucket, None)
        self._told.discard(bucket)
        self._left[bucket] = self._nodes.begun
        self._look_whether_joined()

    def _lose(self, bucket: int) -> None:
        channels = self._held.get(bucket)
        if channels is not None and channels.up:
            channels.lost()
            self._listener.interrupted(bucket)
