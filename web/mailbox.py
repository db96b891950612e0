"""One stream's bounded queue, between the bucket that fills it and the browser that empties it.

Full: everything in it is dropped, and the stream reads on from Postgres where it stands. So a bucket never waits for a browser,
and nothing is lost.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from web.auth.caller import ANYBODY, Caller

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
        "_waiter",
        "caller",
        "closed",
        "ending",
        "had",
        "live",
        "overflowed",
        "patience",
        "silent_end",
        "took",
        "user_id",
        "wrote",
    )

    def __init__(self, user_id: str, limit: int, caller: Caller = ANYBODY) -> None:
        self.user_id = user_id
        self.caller = caller
        self.live = False
        self.overflowed = False
        self.had = 0  # all up to there was taken when the queue of a live stream was dropped
        self._base = 0  # … and when the oldest event came that waits
        self.ending: str | None = None  # why the server ends this stream
        self.silent_end = False  # … and without its position, which is none any more
        self.closed = False  # the stream is gone
        self.took = 0.0  # when the stream took events last
        # For web.heartbeats: when the stream wrote last, or was to, and how long it may be quiet.
        self.wrote = self.patience = 0.0
        self._limit = limit
        self._bytes = 0
        # Most are idle: no deque and no Event, which take some 700 bytes each.
        self._queue: list[Delivery] = []
        self._waiter: asyncio.Future[bool] | None = None

    @property
    def empty(self) -> bool:
        """Is nothing waiting?"""
        return not self._queue and not self.overflowed

    def put(self, delivery: Delivery, base: int) -> bool:
        """Add an event, or drop all and note it, if that is one too many. All up to `base` was handed out before. True as it gets half full.

        The stream sleeps on until `wake`.
        """
        if self.overflowed:
            return False
        queue = self._queue
        if not queue:
            self._base = base
        self._bytes += len(delivery.frame)
        if len(queue) >= self._limit or (queue and self._bytes > LIMIT_BYTES):
            self.overflow()
            return False
        queue.append(delivery)
        return (
            len(queue) == max(1, self._limit // 2)
            or self._bytes - len(delivery.frame) < LIMIT_BYTES // 2 <= self._bytes
        )

    def overflow(self) -> None:
        """Drop all: the stream reads on from Postgres where it stands."""
        if self.live:
            self.had = self._base
        self._clear()
        self.overflowed = True
        self.live = False
        self._wake(something=True)

    def begin_anew(self) -> None:
        """Forget what waits: the stream is about to read from Postgres. It is not live until it says so."""
        self._clear()
        self.overflowed = False
        self.live = False

    def end(self, reason: str, *, silently: bool = False) -> None:
        """Have the stream end as soon as it can."""
        self.ending = self.ending or reason
        self.silent_end = self.silent_end or silently
        self._wake(something=True)

    def wake(self) -> None:
        """Have the stream, if it waits, take what there is."""
        if self._waiter is not None:
            self._wake(something=True)

    def beat(self, now: float) -> None:
        """Have the stream, if it waits, say that it lives."""
        self.wrote = now
        self._wake(something=False)

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
        if self._queue:
            self._queue = []
        self._bytes = 0

    def woken(self) -> asyncio.Future[bool]:
        """Done with True once a live stream has an event, an overflow or its end to look at; with False when a heartbeat is due.

        One at a time. A future, and nothing around it, is all that an idle stream costs here.
        """
        waiter = self._waiter = asyncio.get_running_loop().create_future()
        if self._queue or self.ending or not self.live:
            self._wake(something=True)
        return waiter

    def _wake(self, *, something: bool) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(something)
