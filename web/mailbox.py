"""One stream's bounded queue, between the bucket that fills it and the browser that empties it.

Full: everything in it is dropped, and the stream reads on from Postgres where it stands. So a bucket never waits for a browser,
and nothing is lost.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

from core.clock import happens

LIMIT_BYTES = 2 << 20


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event's frame and its seq; one object for all the streams it goes to."""

    seq: int
    frame: bytes


class Mailbox:
    """What waits for one stream. Filled from the moment its channels are confirmed, handed out once it is live."""

    __slots__ = (
        "_base",
        "_bytes",
        "_limit",
        "_queue",
        "_wake",
        "ending",
        "had",
        "live",
        "overflowed",
        "silent_end",
        "user_id",
    )

    def __init__(self, user_id: str, limit: int) -> None:
        self.user_id = user_id
        self.live = False
        self.overflowed = False
        self.had = 0  # all up to there was taken when the queue of a live stream was dropped
        self._base = 0  # … and when the oldest event came that waits
        self.ending: str | None = None  # why the server ends this stream
        self.silent_end = False  # … and without its position, which is none any more
        self._limit = limit
        self._bytes = 0
        self._queue: deque[Delivery] = deque()
        self._wake = asyncio.Event()

    @property
    def empty(self) -> bool:
        """Is nothing waiting?"""
        return not self._queue and not self.overflowed

    def put(self, delivery: Delivery, base: int) -> None:
        """Add an event, or drop all and note it, if that is one too many. All up to `base` was handed out before."""
        if self.overflowed:
            return
        if not self._queue:
            self._base = base
        self._bytes += len(delivery.frame)
        if len(self._queue) >= self._limit or (self._queue and self._bytes > LIMIT_BYTES):
            self.overflow()
        else:
            self._queue.append(delivery)
        self._wake.set()

    def overflow(self) -> None:
        """Drop all: the stream reads on from Postgres where it stands."""
        if self.live:
            self.had = self._base
        self._clear()
        self.overflowed = True
        self.live = False
        self._wake.set()

    def begin_anew(self) -> None:
        """Forget what waits: the stream is about to read from Postgres. It is not live until it says so."""
        self._clear()
        self.overflowed = False
        self.live = False

    def end(self, reason: str, *, silently: bool = False) -> None:
        """Have the stream end as soon as it can."""
        self.ending = self.ending or reason
        self.silent_end = self.silent_end or silently
        self._wake.set()

    def take_above(self, last: int) -> list[Delivery]:
        """All that waits and is above `last`, in order, each once (a batch that was sent again comes here twice)."""
        taken = []
        for delivery in self._queue:
            if delivery.seq > last:
                taken.append(delivery)
                last = delivery.seq
        self._clear()
        return taken

    def _clear(self) -> None:
        self._queue.clear()
        self._bytes = 0

    async def wait(self, timeout: float) -> bool:
        """Wait, live, for an event, an overflow or the end; False if `timeout` seconds passed first."""
        if self._queue or self.ending or not self.live:
            return True
        self._wake.clear()
        return await happens(self._wake, timeout)
