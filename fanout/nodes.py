"""Where each bucket is served: on the one server, on the one that Sentinels name, or on nodes of a cluster, as far as this process knows.

A server says on connecting whether it is a node of a cluster. One that is not, and that no Sentinel watches, serves all buckets and is
never asked again. Else a node, or a Sentinel, is asked every few seconds, and at once when a node sends a bucket away, fails or falls
silent. One that was cut off may tell old tales: one that sees the cluster whole, and knows of the latest change that we know of, is
believed first.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace

import structlog

from core.clock import Clock, happens
from core.errors import RedisUnavailableError
from fanout.buckets import Buckets
from fanout.connection import Hello, RedisConfig, RedisConnection, SlotMovedError
from fanout.reach import open_redis
from fanout.redis_url import Address, read_url
from fanout.sentinels import ask_sentinel, sentinels
from fanout.slots import Slots, served_by, slot_of

_log = structlog.get_logger("nodes")

LOOK_EVERY = 3.0
# After a failure: a replica may be promoted any moment.
LOOK_SOON = 0.5
UNEASY = 15.0
LOOK_TIMEOUT = 1.0
# Between looks that found nobody, and at least between any two.
PAUSE = 0.2
HELLO_TIMEOUT = 3.0


class Nodes:
    """Which place serves which bucket. `run` keeps it true of a cluster."""

    def __init__(self, redis: RedisConfig, buckets: Buckets, clock: Clock) -> None:
        self._redis = redis
        self._target = read_url(redis.url)
        self._clock = clock
        self._slots = [slot_of(buckets.marks(bucket)) for bucket in range(buckets.count)]
        self._places = [redis] * buckets.count
        self._epoch = 0
        self._turn = 0
        self._first: RedisConfig | None = None  # to be asked first …
        self._last: set[RedisConfig] = set()  # … and last
        self._doubted = asyncio.Event()
        self._uneasy_until = 0.0
        self._changed = asyncio.Event()
        self._followed = False  # is there somebody to ask?
        self._ended = 0
        self.begun = 0  # how often somebody was asked who serves what
        self.clustered = False

    def of(self, bucket: int) -> RedisConfig:
        """Where the bucket is served."""
        return self._places[bucket]

    def in_slot(self, slot: int) -> list[int]:
        """The buckets of a slot."""
        return [bucket for bucket, own in enumerate(self._slots) if own == slot]

    def asked_since(self, begun: int) -> bool:
        """Was anybody asked, and has answered, after so many had been?"""
        return self._ended > begun

    async def news(self) -> None:
        """Wait until somebody was asked, or told something by himself."""
        await self._changed.wait()

    async def leaves(self, bucket: int, place: RedisConfig) -> None:
        """Wait until the bucket is served elsewhere."""
        while self.of(bucket) == place:
            await self.news()

    async def admit(self, place: RedisConfig, connection: RedisConnection) -> Hello | None:
        """What the server at the other end of this new connection calls itself; None if it is not to be used, for it led into a cluster,
        whose nodes are known from now on.

        Raises RedisUnavailableError for a replica of whose primary somebody can tell.
        """
        told = await connection.hello(HELLO_TIMEOUT)
        watched = self._target.primary is not None
        if place == self._redis and (told.clustered or watched):
            self.clustered, self._followed = told.clustered, True
            self._take(served_by(connection.address, 0) if watched else await connection.slots(HELLO_TIMEOUT))
            if place in self._places:
                raise RedisUnavailableError("No node of the cluster serves some of the slots that Rowcast needs.")
            return None
        if told.role == "replica" and self._followed:
            raise RedisUnavailableError(f"{place} is a replica.")
        return told

    def failed(self, place: RedisConfig, error: BaseException) -> None:
        """Something went wrong at this place: ask the others, or do at once what it said."""
        if isinstance(error, SlotMovedError) and error.address is not None:
            self.moved(error.slot, error.address)
        elif isinstance(error, SlotMovedError):
            self.sent_away(place)
        else:
            self.doubt(place)

    def moved(self, slot: int, address: Address) -> None:
        """The node that served this slot says who does now."""
        for bucket in self.in_slot(slot):
            self._places[bucket] = self._at(address)
        self._tell()
        self.sent_away(self._at(address))

    def sent_away(self, place: RedisConfig) -> None:
        """This node, which knows best, is to be asked at once."""
        self._first = place
        self._doubted.set()

    def doubt(self, place: RedisConfig) -> None:
        """Ask at once, and this one last."""
        if not self._followed:
            return
        self._last.add(place)
        self._uneasy_until = self._clock.now() + UNEASY
        self._doubted.set()

    async def run(self) -> None:
        """Look again and again, once there is somebody to ask; returns only by cancellation."""
        while True:
            if not self._followed:
                await self.news()
                continue
            uneasy = self._clock.now() < self._uneasy_until
            await happens(self._doubted, LOOK_SOON if uneasy else LOOK_EVERY)
            self._doubted.clear()
            if not await self._look_once():
                self._doubted.set()
            await self._clock.sleep(PAUSE)

    async def _look_once(self) -> bool:
        """Ask until one answers that is to be believed at once; else the best of all answers. False if none came."""
        self.begun += 1
        best: Slots | None = None
        first, last = self._first, self._last
        self._first, self._last = None, set()
        for place in self._candidates(first, last):
            try:
                found = await self._ask(place)
            except RedisUnavailableError:
                continue
            if best is None or (found.well, found.epoch) > (best.well, best.epoch):
                best = found
            if best.well and best.epoch >= self._epoch:
                break
        if best is not None:
            self._ended = self.begun
            self._take(best)
        return best is not None

    def _candidates(self, first: RedisConfig | None, last: set[RedisConfig]) -> list[RedisConfig]:
        """Who to ask: another one first each time, the addresses of the URL after all that are known."""
        self._turn += 1
        if self._target.primary is not None:
            return sentinels(self._redis, self._target, self._turn)
        known = list(dict.fromkeys(self._places))
        turn = self._turn % len(known)
        order = [*known[turn:], *known[:turn], self._redis]
        order.sort(key=lambda place: place in last)
        return list(dict.fromkeys([first, *order] if first else order))

    async def _ask(self, place: RedisConfig) -> Slots:
        if self._target.primary is not None:
            return await ask_sentinel(place, self._target.primary)
        async with open_redis(place, name="rowcast-look", timeout=LOOK_TIMEOUT) as connection:
            return await connection.slots(LOOK_TIMEOUT)

    def _take(self, slots: Slots) -> None:
        before = list(self._places)
        self._epoch = slots.epoch
        for bucket, slot in enumerate(self._slots):
            owner = slots.owner(slot)
            # Nobody's: the way in tells so, and asks again, while the nodes with other buckets are left in peace.
            self._places[bucket] = self._redis if owner is None else self._at(owner)
        if self._places != before:
            counts = Counter(map(str, self._places))
            _log.info("redis.buckets", nodes=dict(sorted(counts.items())))
        self._tell()

    def _at(self, address: Address) -> RedisConfig:
        return replace(self._redis, at=address)

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
