"""One browser's stream: what it missed, then what comes, joined by seq so that nothing is left out and nothing comes twice.

The order of a start: channels confirmed → backlog and last_seq in one snapshot → backlog out → `hello` → live above it. A long
backlog goes in pages up to the first snapshot's last_seq. The stream goes live only if no re-read of its bucket came between;
else it reads on from Postgres first, and so it does whenever its mailbox overflowed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from typing import TypeAlias

import structlog

from core import fail_points
from core.clock import Clock
from core.errors import DatabaseUnavailableError, StaleReadError, UnreadableRowError
from core.fail_points import Point
from db.history import NOTHING_ABOVE, History, Page
from web import sse
from web.auth.caller import ANYBODY, Caller
from web.bucket import Bucket
from web.config import WebConfig
from web.hub import Hub
from web.mailbox import Mailbox

_log = structlog.get_logger("stream")

# Seconds. A page that Postgres has no believable answer for: the stream ends, and the client comes back.
PAGE_TIMEOUT = 10.0
# A reader that took this long over one write, and overflowed its mailbox meanwhile, is ended; it comes back and resumes.
LAG_TIMEOUT = 10.0
# A quiet stream's position moves now and then, so that it is not taken for one that history was pruned under.
HEARTBEATS_PER_POSITION = 20
# How many times as long as usual a client is to wait that was refused because there are too many.
BUSY = 4


class Since(StrEnum):
    """Where a stream starts that has no position yet."""

    UNREAD = "unread"
    NOW = "now"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Unknown:
    """A Last-Event-ID that is no seq of ours."""


Start: TypeAlias = Since | int | Unknown


class Stream:
    """One response; `frames` is its body."""

    def __init__(
        self,
        hub: Hub,
        history: History,
        config: WebConfig,
        clock: Clock,
        *,
        user_id: str,
        start: Start,
        caller: Caller = ANYBODY,
        cut: Callable[[], None] = lambda: None,
    ) -> None:
        """`cut` is called if the client missed more rows than it is sent."""
        self._hub = hub
        self._history = history
        self._config = config
        self._clock = clock
        self._user_id = user_id
        self._caller = caller
        self._cut = cut
        self._position = (
            start if isinstance(start, int) else None
        )  # what the client says it has, until it was looked at
        self._unknown = isinstance(start, Unknown)
        self._unread = start is Since.UNREAD
        self._last = _first_after(start)  # everything above, and only that, is still to be written
        self._written: int | None = None  # the last id on the wire
        self._row_by_row = False
        self._most = config.caps.replay_rows  # of what the client missed; not of what comes while it reads that

    async def frames(self) -> AsyncIterator[bytes]:
        """The bytes of the stream, from the first `retry:` to a clean end. Neither Postgres nor Redis makes this raise."""
        yield self._retry()
        try:
            async with self._hub.listening(self._user_id, self._config.stream_queue, self._caller) as (bucket, mailbox):
                greeted = False
                while not mailbox.ending:
                    async for chunk in self._catch_up(bucket, mailbox):
                        yield chunk
                    if mailbox.live and not greeted:
                        greeted = True
                        yield self._at(self._last, sse.hello(self._last))
                        self._hub.heartbeats.watch(mailbox, self._config.heartbeat)
                    # Here nearly every stream waits nearly always: one generator and one future.
                    quiet = 0
                    while mailbox.live and not mailbox.ending:
                        if not await mailbox.woken():
                            quiet += 1
                            yield self._sign_of_life(bucket, mailbox, quiet)
                        elif mailbox.live and (deliveries := mailbox.take_above(self._last)):
                            quiet = 0
                            self._last = deliveries[-1].seq
                            mailbox.wrote = mailbox.took = self._clock.now()
                            yield self._at(self._last, b"".join([delivery.frame for delivery in deliveries]))
                            self._look_at_lag(mailbox)
                    # History may have been pruned past it, should it be read again; but not past what was never missed.
                    self._position = self._last = max(self._last, mailbox.had)
                for chunk in self._farewell(bucket, mailbox):
                    yield chunk
        except DatabaseUnavailableError as error:
            _log.warning("stream.ended", why="history can't be read", reason=str(error))
            yield self._retry()

    async def _catch_up(self, bucket: Bucket, mailbox: Mailbox) -> AsyncIterator[bytes]:
        """Write what Postgres has, until the stream is live or is to end."""
        while not (mailbox.live or mailbox.ending):
            epoch = await bucket.settled()
            mailbox.begin_anew()
            first = await self._page(bucket, None)
            if not mailbox.ending:  # else the bucket may have forgotten the log that this is of
                bucket.shown(first.last_seq)
            async for chunk in self._backlog(bucket, mailbox, first):
                yield chunk
            if self._last == first.last_seq and not mailbox.ending:
                self._unread = self._row_by_row = False
                bucket.go_live(mailbox, epoch, first.last_seq)
                if fail_points.armed and mailbox.live:
                    await fail_points.reach(Point.LIVE)
            self._position = self._last  # history may be pruned past it before it is read again

    async def _backlog(self, bucket: Bucket, mailbox: Mailbox, first: Page) -> AsyncIterator[bytes]:
        """Write it up to the end that its first page saw, where `_last` then stands; or leave off, if rows go while they are read."""
        page, upto = first, first.last_seq
        if reset := await self._reset(first):
            yield reset
            if self._last >= upto:
                self._most = 0
                return
            page = await self._page(bucket, upto)
        if reset := await self._limit(page, upto):
            yield reset
            page = await self._page(bucket, upto)
        while not mailbox.ending and page.pruned_seq <= max(first.pruned_seq, self._last):
            for last, piece in sse.pieces(page.events):
                self._last = last
                yield self._at(last, piece)
                if mailbox.ending:
                    return
            if not page.more:
                self._last = upto
                return
            page = await self._page(bucket, upto)

    def _look_at_lag(self, mailbox: Mailbox) -> None:
        """After a write of events: did it take so long that the mailbox overflowed meanwhile?"""
        # Not since `wrote`: the wheel of heartbeats moves that while the write lasts.
        if not mailbox.live and self._clock.now() - mailbox.took > LAG_TIMEOUT:
            mailbox.end("the reader lags")

    async def _page(self, bucket: Bucket, upto: int | None) -> Page:
        deadline = self._clock.now() + PAGE_TIMEOUT
        while True:
            try:
                page = await self._replay(bucket, upto)
            except StaleReadError:
                if self._clock.now() > deadline:
                    raise
                await self._clock.sleep(self._clock.jitter(0.1, 1.0))
            else:
                if fail_points.armed:
                    await fail_points.reach(Point.BACKLOG_READ)
                return page

    async def _replay(self, bucket: Bucket, upto: int | None) -> Page:
        """The next page; row by row once one of them was too much to be written out, and without that one, which nobody can be given."""
        read = partial(self._history.replay, self._user_id, upto=upto, unread=self._unread, at_least=bucket.known)
        try:
            if self._row_by_row:
                return await read(after=self._last, one=True)
            return await self._hub.backlogs.page(
                self._user_id, after=self._last, upto=upto, unread=self._unread, known=lambda: bucket.known
            )
        except UnreadableRowError:
            if not self._row_by_row:
                self._row_by_row = True
                return await self._replay(bucket, upto)
        page = await read(after=self._last, one=True, bare=True)
        self._row_by_row = False
        if page.events:
            self._last = page.events[0].seq
            _log.error(
                "row.unreadable",
                seq=self._last,
                hint="Postgres can't write it out as JSON: delete it, or make it smaller",
            )
        return replace(page, events=[])

    async def _reset(self, page: Page) -> bytes | None:
        """On the first page: look at the position the client came with; tell it honestly if the log can't go on from there."""
        position, self._position = self._position, None
        unknown, self._unknown = self._unknown, False
        if unknown:
            return await self._reset_to("unknown", page.last_seq)
        if position is not None and position > page.last_seq:
            return await self._reset_to("future", page.last_seq)
        if position is not None and position < page.pruned_seq:
            return await self._reset_to("pruned", page.pruned_seq)
        if position is not None and page.rejoin is not None:
            return await self._reset_to("future", page.rejoin)
        return None

    async def _limit(self, page: Page, upto: int) -> bytes | None:
        """On the first page: of a backlog that is too long only the newest rows are sent; say so, and go to the position below them."""
        most, self._most = self._most, 0
        if not most or not (page.more or len(page.events) > most):
            return None
        below = await self._history.below_newest(self._user_id, most, after=self._last, upto=upto, unread=self._unread)
        if below is None:
            return None
        self._cut()
        return await self._reset_to("limit", below)

    async def _reset_to(self, reason: str, seq: int) -> bytes:
        self._last = seq
        return self._at(seq, sse.reset(reason, await self._history.oldest(), seq))

    def _sign_of_life(self, bucket: Bucket, mailbox: Mailbox, quiet: int) -> bytes:
        end = self._position_now(bucket, mailbox)
        if quiet % HEARTBEATS_PER_POSITION == 0 and end is not None and end != self._written:
            self._last = end
            return sse.HEARTBEAT + self._at(end, sse.position(end))
        return sse.HEARTBEAT

    def _farewell(self, bucket: Bucket, mailbox: Mailbox) -> Iterator[bytes]:
        _log.debug("stream.ended", why=mailbox.ending)
        yield self._retry()
        end = self._position_now(bucket, mailbox)
        if end is not None and not mailbox.silent_end:
            yield sse.position(end)

    def _position_now(self, bucket: Bucket, mailbox: Mailbox) -> int | None:
        """In the backlog the last id written. Live its own last, or the bucket's position if nothing waits that is below it."""
        if not mailbox.live:
            return self._written
        return max(self._last, bucket.position or 0) if mailbox.empty else self._last

    def _at(self, seq: int, chunk: bytes) -> bytes:
        self._written = seq
        return chunk

    def _retry(self) -> bytes:
        return sse.retry(retry_after(self._config, self._clock))


def retry_after(config: WebConfig, clock: Clock) -> int:
    """Milliseconds for a client to wait before it reconnects: each another number, so that they come back spread out."""
    return round(1000 * clock.jitter(config.retry / 2, config.retry * 1.5))


def busy_retry(config: WebConfig, clock: Clock) -> int:
    """The same for one that was refused because there are too many: later, as nothing is lost meanwhile and others have to go first."""
    return BUSY * retry_after(config, clock)


def _first_after(start: Start) -> int:
    match start:
        case int():
            return min(start, NOTHING_ABOVE)
        case Since.UNREAD | Since.ALL:
            return 0
        case _:
            return NOTHING_ABOVE
