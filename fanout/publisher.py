"""One bucket's way out: batches in, each leaves with its mark as one MULTI/EXEC on one connection.

A batch is the whole of a bucket's messages of one range, or a piece of at most about 1 MB with a range of its own. What can't be
sent is dropped: the next batch's `from` shows the hole, and the web repairs it from Postgres. So nothing here blocks the bridge.

Full queue: wait for room while Redis takes what it gets; drop the batch as soon as it does not.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from dataclasses import dataclass, field

import structlog

from core import fail_points
from core.clock import Clock
from core.errors import RedisUnavailableError
from core.events import Range
from core.fail_points import Point
from core.supervise import Attempt, supervise
from fanout.buckets import Buckets
from fanout.connection import Hello, RedisConfig, RedisConnection
from fanout.messages import encode_mark
from fanout.nodes import Nodes
from fanout.reach import open_redis

_log = structlog.get_logger("publisher")

QUEUE_BYTES = 8 << 20
REPLY_TIMEOUT = 3.0
ROOM_TIMEOUT = 1.0
STILL = 0.3
ATTEMPTS = 2
LATE = 3.0  # seconds after which those who listen have read from Postgres what they miss
LOOK_EVERY = 1.0


@dataclass(slots=True)
class Batch:
    """Messages (channel, payload) of one range of the log, in order, and how often sending them was tried; `part`: a piece, not the last."""

    span: Range
    messages: list[tuple[bytes, bytes]]
    part: bool = False
    tries: int = field(default=0, init=False)
    queued_at: float = field(default=0.0, init=False)
    size: int = field(init=False)

    def __post_init__(self) -> None:
        # Bytes of the payloads, with something for what each message takes beside.
        self.size = 256 + sum(len(payload) + 128 for _, payload in self.messages)


class Publisher:
    """Sends one bucket's batches in order, for as long as `run` runs."""

    def __init__(self, nodes: Nodes, buckets: Buckets, bucket: int, clock: Clock) -> None:
        self._nodes = nodes
        self._bucket = bucket
        self._mark_channel = buckets.marks(bucket)
        self._clock = clock
        self._queue: deque[Batch] = deque()
        self._bytes = 0
        self._limit = QUEUE_BYTES // buckets.count
        self._shedding = False
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self.connected = False
        self._sent_at = math.inf  # since when an answer is waited for
        self._attempt: Attempt | None = None
        self._next_look = clock.now()

    @property
    def publishes(self) -> bool:
        """Has Redis taken something in the last 3 s?"""
        return self._attempt is not None and self._attempt.lives

    async def offer(self, batch: Batch) -> bool:
        """Queue a batch; False if it was dropped because Redis does not take them (waits at most 1 s to find out, and then only once)."""
        if self._shedding and self._bytes <= self._limit // 2:
            self._shedding = False
            _log.info("publish.resumed", bucket=self._bucket, start=batch.span.start)
        full = self._queue and self._bytes + batch.size > self._limit
        if full and (self._shedding or self._stands_still or not await self._room_for(batch)):
            if not self._shedding:
                self._note_dropped(batch, "queue full, and so are those that follow")
            self._shedding = True
            return False
        self._put(batch)
        return True

    def heartbeat(self, end: int) -> None:
        """Let hubs know that all up to `end` was sent or dropped: the mark {end, end}, behind whatever is still queued."""
        if not self._queue:
            self._put(Batch(Range(end, end), []))

    async def run(self) -> None:
        """Keep a connection to wherever the bucket is served, and send what is queued; returns only by cancellation."""
        while True:
            place = self._nodes.of(self._bucket)
            async with asyncio.TaskGroup() as tasks:
                sending = tasks.create_task(self._send_to(place), name=f"publisher {self._bucket}")
                await self._nodes.leaves(self._bucket, place)
                sending.cancel()

    async def drain(self) -> None:
        """Return once the queue is empty. The caller sets the time limit."""
        while self._queue:
            self._room.clear()
            await self._room.wait()

    def _put(self, batch: Batch) -> None:
        batch.queued_at = self._clock.now()
        self._queue.append(batch)
        self._bytes += batch.size
        self._arrived.set()

    @property
    def _stands_still(self) -> bool:
        """Does Redis take nothing? In a cluster the others' buckets wait with this one's, once for all that the node has."""
        waits = self._clock.now() - self._sent_at
        return not self.connected or (self._nodes.clustered and waits > STILL)

    async def _room_for(self, batch: Batch) -> bool:
        try:
            async with asyncio.timeout(ROOM_TIMEOUT):
                while self._queue and self._bytes + batch.size > self._limit:
                    self._room.clear()
                    await self._room.wait()
        except TimeoutError:
            return False
        return True

    async def _send_to(self, place: RedisConfig) -> None:
        async def connected_once(attempt: Attempt) -> None:
            self._attempt = attempt
            try:
                await self._connected_once(attempt, place)
            except RedisUnavailableError as error:
                if not self.connected:
                    self._drop_all("Redis is away")  # for longer than a cut: what waits would only come late
                self._nodes.failed(place, error)
                raise
            finally:
                self.connected = False
                self._sent_at = math.inf
                self._give_up_on_failed()

        await supervise(f"redis publisher {self._bucket}", connected_once, clock=self._clock)

    async def _connected_once(self, attempt: Attempt, place: RedisConfig) -> None:
        async with open_redis(place, name="rowcast-bridge") as connection:
            told = await self._nodes.admit(place, connection)
            if told is None:
                return
            self._refuse(told)
            self.connected = True
            while True:
                await self._wait_for_batch()
                self._sent_at = self._clock.now()  # who hangs may first be asked who it is
                await self._refuse_replica(connection)
                await self._send_next(connection)
                attempt.succeeded()

    async def _refuse_replica(self, connection: RedisConnection) -> None:
        """Leave a server that was the primary once. It takes every message, says OK, and hands it to nobody who listens at the new primary."""
        if self._clock.now() >= self._next_look:
            self._refuse(await connection.hello(REPLY_TIMEOUT))

    def _refuse(self, told: Hello) -> None:
        self._next_look = self._clock.now() + LOOK_EVERY
        if told.role == "replica":
            raise RedisUnavailableError("This Redis is a replica: who listens at the primary would hear nothing.")

    async def _wait_for_batch(self) -> None:
        while not self._queue:
            self._arrived.clear()
            await self._arrived.wait()

    async def _send_next(self, connection: RedisConnection) -> None:
        batch = self._queue[0]
        batch.tries += 1
        await self._send(connection, batch)
        self._sent_at = math.inf
        self._remove(batch)

    async def _send(self, connection: RedisConnection, batch: Batch) -> None:
        publish = [(b"SPUBLISH", channel, payload) for channel, payload in batch.messages]
        publish.append((b"SPUBLISH", self._mark_channel, encode_mark(batch.span)))
        await connection.send([(b"MULTI",), *publish, (b"EXEC",)])
        if fail_points.armed and batch.messages:
            await fail_points.reach(Point.SENT)
        # OK, QUEUED for each, and the answers together: an error anywhere means that the batch counts as not sent.
        *_, answers = await connection.receive_many(len(publish) + 2, REPLY_TIMEOUT)
        refused = [answer for answer in answers or [] if isinstance(answer, Exception)]
        if refused:
            raise RedisUnavailableError(f"Redis refused a message: {refused[0]}")
        if fail_points.armed and batch.messages:
            await fail_points.reach(Point.MARKED)
            if batch.part:
                await fail_points.reach(Point.PART_SENT)

    def _give_up_on_failed(self) -> None:
        """After a lost connection: all goes if any of it is late, else the batch that failed twice; marks alone are worth nothing later."""
        if self._queue and self._clock.now() - self._queue[0].queued_at > LATE:
            # Cut again and again, it would else have minutes of old rows to send at last, before a mark that anyone believes.
            self._drop_all("late")
        elif self._queue and not self._queue[0].messages:
            self._remove(self._queue[0])
        elif self._queue and self._queue[0].tries >= ATTEMPTS:
            self._note_dropped(self._queue[0], "failed twice")
            self._remove(self._queue[0])

    def _drop_all(self, why: str) -> None:
        if any(batch.messages for batch in self._queue):
            self._note_dropped(self._queue[-1], why)
        while self._queue:
            self._remove(self._queue[0])

    def _note_dropped(self, batch: Batch, why: str) -> None:
        _log.warning("publish.dropped", bucket=self._bucket, start=batch.span.start, end=batch.span.end, why=why)

    def _remove(self, batch: Batch) -> None:
        self._queue.popleft()
        self._bytes -= batch.size
        self._room.set()
