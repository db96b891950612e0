"""The way in from every node: one subscription each, and every bucket with the node that serves it, wherever that is by now."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from core.clock import Clock
from fanout.buckets import Buckets
from fanout.channels import Channels
from fanout.connection import RedisConfig
from fanout.nodes import Nodes
from fanout.subscription import Listener, Subscription


class Subscriptions:
    """Keeps the channels of all buckets subscribed, for as long as `run` runs: marks and rows for everyone always, users' while counted."""

    def __init__(self, nodes: Nodes, names: Buckets, listener: Listener, clock: Clock) -> None:
        self._nodes = nodes
        self._names = names
        self._listener = listener
        self._clock = clock
        self._channels = [Channels([names.marks(n), names.everyone(n)]) for n in range(names.count)]
        self._ears: dict[RedisConfig, tuple[Subscription, asyncio.Task[None]]] = {}

    async def run(self) -> None:
        """Follow the buckets from node to node; returns only by cancellation."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._nodes.run(), name="nodes")
            while True:
                self._settle(tasks)
                await self._nodes.news()

    @property
    def channels(self) -> int:
        """How many channels are subscribed or about to be."""
        return sum(map(len, self._channels))

    @contextmanager
    def counted(self, channel: bytes) -> Iterator[None]:
        """One more stream wants `channel`, until the end of the block."""
        bucket = self._names.number(channel)
        self._channels[bucket].add(channel)
        self._changed(bucket)
        try:
            yield
        finally:
            self._channels[bucket].remove(channel)
            self._changed(bucket)

    def always(self, channel: bytes) -> None:
        """`channel` is wanted for as long as there is a subscription at all."""
        bucket = self._names.number(channel)
        self._channels[bucket].add(channel)
        self._changed(bucket)

    async def confirmed(self, channel: bytes) -> None:
        """Return once what is published on `channel` is heard, or will be re-read when its bucket is joined."""
        confirmation = self._channels[self._names.number(channel)].confirmation(channel)
        if confirmation is not None:
            await confirmation

    def reconnect(self, buckets: Iterable[int]) -> None:
        """Throw away the connections of these buckets, and of those on the same nodes: they are silent, and who serves them is in doubt."""
        for place in {self._nodes.of(bucket) for bucket in buckets}:
            self._nodes.doubt(place)
            if place in self._ears:
                self._ears[place][0].reconnect()

    def _changed(self, bucket: int) -> None:
        for subscription, _ in self._ears.values():
            if bucket in subscription.buckets:
                subscription.changed(bucket)

    def _settle(self, tasks: asyncio.TaskGroup) -> None:
        """Every bucket with its node, and no subscription without a bucket."""
        for bucket in range(self._names.count):
            place = self._nodes.of(bucket)
            for other, (subscription, _) in self._ears.items():
                if other != place and bucket in subscription.buckets:
                    subscription.release(bucket)
            subscription = self._at(place, tasks)
            if bucket not in subscription.buckets:
                subscription.adopt(bucket, self._channels[bucket])
        for place in [place for place, (subscription, _) in self._ears.items() if not subscription.buckets]:
            self._ears.pop(place)[1].cancel()

    def _at(self, place: RedisConfig, tasks: asyncio.TaskGroup) -> Subscription:
        if place not in self._ears:
            made = Subscription(place, self._nodes, self._names, self._listener, self._clock)
            self._ears[place] = made, tasks.create_task(made.run(), name=f"subscription {place}")
        return self._ears[place][0]
