"""From stamped ranges to batches: read a range's bodies on a session of its own, sort them into buckets, offer them with their marks.

The sequencer goes on stamping whatever happens here. A range that can't be read or sent is dropped; the next one's `from` shows
the hole, and every web process repairs it from Postgres.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

import structlog

from core import fail_points
from core.clock import Clock, happens
from core.errors import UnreadableRowError
from core.events import Event, Range
from core.fail_points import Point
from core.supervise import Attempt, supervise
from db.connect import Connection, ping, session
from db.outbox import PrunedError, Source, read_range
from fanout.buckets import Buckets
from fanout.messages import encode_message
from fanout.publisher import Batch

_log = structlog.get_logger("relay")

QUEUE_RANGES = 16
FEW_RANGES = 1
ROOM_TIMEOUT = 1.0
PING_EVERY = 1.0
TRIES = 2
PIECE_BYTES = 1 << 20
# Redis ends a subscriber with more than 8 MB waiting for a minute, or 32 MB at all; such a row is read from Postgres instead.
LARGEST_MESSAGE = 4 << 20


class Way(Protocol):
    """One bucket's way out: what fanout.publisher.Publisher is."""

    async def offer(self, batch: Batch) -> bool:
        """Queue a batch; False if it had to be dropped."""

    def heartbeat(self, end: int) -> None:
        """Mark that all up to `end` was sent or dropped."""


@dataclass(slots=True)
class _Stamped:
    source: Source
    span: Range
    tries: int = field(default=0, init=False)


@dataclass(frozen=True, slots=True)
class _TermStarted:
    span: Range


@dataclass(frozen=True, slots=True)
class _Alive:
    end: int


_Item: TypeAlias = _Stamped | _TermStarted | _Alive


@dataclass(slots=True)
class _Pile:
    """One bucket's messages of a range, until they are a piece."""

    start: int
    messages: list[tuple[bytes, bytes]] = field(default_factory=list)
    size: int = 0
    ended: bool = False


class Relay:
    """Takes what the sequencer stamped, in order; `run` does the work."""

    def __init__(self, database_url: str, buckets: Buckets, ways: Sequence[Way], clock: Clock) -> None:
        self._url = database_url
        self._buckets = buckets
        self._ways = ways
        self._clock = clock
        self._queue: deque[_Item] = deque()
        self._shedding = False
        self._stuck = False
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._attempt: Attempt | None = None

    @property
    def reads(self) -> bool:
        """Are ranges read, or would they be if any came?"""
        return self._attempt is not None and self._attempt.lives

    # What the sequencer calls

    async def stamped(self, source: Source, span: Range) -> None:
        """Queue a range. Waits at most a second for room, and then only once, before it drops: stamping goes on."""
        if self._shedding and len(self._queue) <= QUEUE_RANGES // 2:
            self._shedding = False
            _log.info("relay.resumed", start=span.start)
        if len(self._queue) >= QUEUE_RANGES and (self._shedding or not await self._room_made()):
            if not self._shedding:
                _log.warning(
                    "relay.dropped", start=span.start, end=span.end, why="queue full, and so are those that follow"
                )
            self._shedding = True
            return
        self._put(_Stamped(source, span))

    async def kept_up(self) -> None:
        """Return once few ranges wait; after a second in vain not again before one was read: stamping goes on."""
        if self._stuck:
            return
        try:
            async with asyncio.timeout(ROOM_TIMEOUT):
                while len(self._queue) > FEW_RANGES:
                    self._room.clear()
                    await self._room.wait()
        except TimeoutError:
            self._stuck = True

    async def term_started(self, span: Range) -> None:
        """The first range of a term, which has no rows."""
        self._put(_TermStarted(span))

    def alive(self, end: int) -> None:
        """Behind all that is queued: all up to `end` was sent or dropped."""
        # The one being handled stays; of those that wait the latest says it all.
        if len(self._queue) > 1 and isinstance(self._queue[-1], _Alive):
            self._queue.pop()
        if len(self._queue) < QUEUE_RANGES:
            self._put(_Alive(end))

    # Its life

    async def run(self) -> None:
        """Read and offer; returns only by cancellation."""
        await supervise("postgres reader", self._read_while_connected, clock=self._clock)

    async def drain(self) -> None:
        """Return once all that was queued has been offered. The caller sets the time limit."""
        while self._queue:
            self._room.clear()
            await self._room.wait()

    def _put(self, item: _Item) -> None:
        self._queue.append(item)
        self._arrived.set()

    async def _room_made(self) -> bool:
        self._room.clear()
        return await happens(self._room, ROOM_TIMEOUT)

    async def _read_while_connected(self, attempt: Attempt) -> None:
        self._attempt = attempt
        try:
            async with session(self._url, name="rowcast-read") as connection:
                while True:
                    attempt.succeeded()
                    if await self._something_queued():
                        await self._handle(connection, self._queue[0])
                        self._done()
                    else:
                        await ping(connection)
        finally:
            self._give_up_on_failed()

    async def _something_queued(self) -> bool:
        if not self._queue:
            self._arrived.clear()
            return await happens(self._arrived, PING_EVERY)
        return True

    async def _handle(self, connection: Connection, item: _Item) -> None:
        match item:
            case _Stamped():
                item.tries += 1
                try:
                    await self._relay(connection, item.source, item.span)
                except (PrunedError, UnreadableRowError) as error:
                    _log.warning("relay.dropped", start=item.span.start, end=item.span.end, why=str(error))
            case _TermStarted(span):
                for way in self._ways:
                    await way.offer(Batch(span, []))
            case _Alive(end):
                await ping(connection)
                for way in self._ways:
                    way.heartbeat(end)

    async def _relay(self, connection: Connection, source: Source, span: Range) -> None:
        piles = [_Pile(span.start) for _ in self._ways]
        async for event in read_range(connection, source, span):
            for bucket, channel in self._channels(event):
                await self._add(bucket, piles[bucket], channel, event)
        if fail_points.armed:
            await fail_points.reach(Point.BODIES_READ)
        for bucket, pile in enumerate(piles):
            if not pile.ended:
                await self._ways[bucket].offer(Batch(Range(pile.start, span.end), pile.messages))

    def _channels(self, event: Event) -> list[tuple[int, bytes]]:
        if event.user_id is None:
            return [(bucket, self._buckets.everyone(bucket)) for bucket in range(self._buckets.count)]
        return [(self._buckets.of(event.user_id), self._buckets.user(event.user_id))]

    async def _add(self, bucket: int, pile: _Pile, channel: bytes, event: Event) -> None:
        if pile.ended:
            return
        payload = encode_message(event, pile.start)
        if len(payload) > LARGEST_MESSAGE:
            # Neither this piece nor later rows of the range nor its mark: a hole, that Postgres fills.
            _log.warning("relay.too_large", seq=event.seq, bytes=len(payload), bucket=bucket)
            pile.ended = True
            return
        pile.messages.append((channel, payload))
        pile.size += len(payload)
        if pile.size >= PIECE_BYTES:
            taken = await self._ways[bucket].offer(Batch(Range(pile.start, event.seq), pile.messages, part=True))
            pile.ended = not taken
            if self._attempt is not None:
                self._attempt.succeeded()
            pile.start, pile.messages, pile.size = event.seq, [], 0

    def _done(self) -> None:
        self._queue.popleft()
        self._stuck = False
        self._room.set()

    def _give_up_on_failed(self) -> None:
        """After a lost session: the range that failed twice is dropped."""
        item = self._queue[0] if self._queue else None
        if isinstance(item, _Stamped) and item.tries >= TRIES:
            _log.warning("relay.dropped", start=item.span.start, end=item.span.end, why="can't be read")
            self._done()
