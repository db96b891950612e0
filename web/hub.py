"""The web's ear: its subscriptions, its buckets, and the mailboxes of this process's streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import structlog

from core import fail_points
from core.clock import Clock
from core.errors import DatabaseUnavailableError
from core.fail_points import Point
from db.history import NOTHING_ABOVE, History
from fanout.buckets import Buckets
from fanout.connection import RedisConfig
from fanout.messages import UnreadableMessageError, decode_mark, decode_message
from fanout.nodes import Nodes
from fanout.subscriptions import Subscriptions
from web.auth.caller import ANYBODY, Caller
from web.backlogs import Backlogs
from web.bucket import INBOX_BYTES, Bucket
from web.expiry import Expiry
from web.gathering import Gathering
from web.heartbeats import Heartbeats
from web.lag import Lag
from web.mailbox import Mailbox

_log = structlog.get_logger("hub")

_WATCH_EVERY = 0.5
_LOOK_EVERY = 1.0
_CALM = 60.0  # seconds in time, after which the next lateness is news


@dataclass(slots=True)
class _Route:
    """What a channel carries: marks of a bucket, its rows for everyone (user_id None), or one user's rows, for so many streams."""

    bucket: Bucket
    marks: bool
    user_id: str | None
    streams: int = 0


class Hub:
    """Everything this process hears, handed to the streams it is for."""

    def __init__(
        self,
        redis: RedisConfig,
        buckets: Buckets,
        history: History,
        clock: Clock,
        *,
        token_leeway: float = 0.0,
        refuses: Callable[[Caller], str | None] = lambda _: None,
    ) -> None:
        """`token_leeway`: see web.config; `refuses`: why a caller is to have no stream, if that is so."""
        self._token_leeway = token_leeway
        self._refuses = refuses
        self._names = buckets
        self._history = history
        self._clock = clock
        gathering = Gathering(clock)
        self._buckets = [
            Bucket(number, history, clock, gathering=gathering, inbox_bytes=INBOX_BYTES // buckets.count)
            for number in range(buckets.count)
        ]
        self._routes: dict[bytes, _Route] = {}
        for bucket in self._buckets:
            self._routes[buckets.marks(bucket.number)] = _Route(bucket, marks=True, user_id=None)
            self._routes[buckets.everyone(bucket.number)] = _Route(bucket, marks=False, user_id=None)
        self.heartbeats = Heartbeats(clock)
        self._subscriptions = Subscriptions(Nodes(redis, buckets, clock), buckets, self, clock)
        self.backlogs = Backlogs(history, clock)
        self._called: dict[bytes, Callable[[], None]] = {}
        self._silence_noted = False
        self._late_at: float | None = None
        self._draining = False
        self._gone = asyncio.Event()

    # What streams and health checks ask

    @asynccontextmanager
    async def listening(
        self, user_id: str, limit: int, caller: Caller = ANYBODY
    ) -> AsyncIterator[tuple[Bucket, Mailbox]]:
        """A mailbox that misses nothing published for `user_id` from the moment this is entered; holds up to `limit` events.

        It ends with the caller's token.
        """
        channel, bucket = self._names.user(user_id), self._buckets[self._names.of(user_id)]
        mailbox = Mailbox(user_id, limit, caller)
        with self._subscriptions.counted(channel), self._routed(channel, bucket, user_id):
            bucket.add(mailbox)
            expiry = None
            try:
                if caller.expires_at is not None:
                    expiry = Expiry(mailbox, caller.expires_at, self._token_leeway, self._clock)
                if self._draining:
                    mailbox.end("the server is stopping")
                elif reason := self._refuses(caller):  # since it was admitted
                    mailbox.end(reason)
                await self._subscriptions.confirmed(channel)
                if fail_points.armed:
                    await fail_points.reach(Point.CONFIRMED)
                yield bucket, mailbox
            finally:
                bucket.remove(mailbox)
                mailbox.closed = True
                if expiry is not None:
                    expiry.cancel()
                if self._draining and not self.streams:
                    self._gone.set()

    def end_streams(self, whose: Callable[[Caller], bool], reason: str) -> int:
        """End every stream whose caller is meant; how many there were."""
        ended = [mailbox for bucket in self._buckets for mailbox in bucket.mailboxes if whose(mailbox.caller)]
        for mailbox in ended:
            mailbox.end(reason)
        return len(ended)

    def calls(self, channel: bytes, function: Callable[[], None]) -> None:
        """Call `function` whenever anything, whatever it says, arrives on a channel that is nobody's."""
        self._called[channel] = function
        self._subscriptions.always(channel)

    @property
    def streams(self) -> int:
        """How many streams are open."""
        return sum(len(bucket.mailboxes) for bucket in self._buckets)

    def ready(self) -> dict[str, str | None]:
        """What keeps this process from being fit to serve, by part; None for nothing."""
        away = sum(not bucket.subscribed for bucket in self._buckets)
        marks = all(bucket.marked for bucket in self._buckets)
        return {
            "redis": f"Redis has not confirmed the subscriptions of {away} of {len(self._buckets)} buckets."
            if away
            else None,
            "rereads": None if self.connected() or away else "What was missed has not been read from Postgres yet.",
            "marks": None
            if marks
            else "No mark of the bridge was heard in the last 3 seconds: is a bridge running, and Redis in time?",
            **({"server": "The server is stopping."} if self._draining else {}),
        }

    def connected(self) -> bool:
        """Is every bucket subscribed, with nothing left to re-read?"""
        return all(bucket.joined_up for bucket in self._buckets)

    def fresh(self) -> bool:
        """The same, and does every bucket hear marks of a leader that is alive?"""
        return all(bucket.fresh for bucket in self._buckets)

    # Its life

    async def run(self) -> None:
        """Hear, hand out, repair; returns only by cancellation."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.heartbeats.run(), name="heartbeats")
            tasks.create_task(self._subscriptions.run(), name="subscriptions")
            tasks.create_task(self.backlogs.run(), name="backlogs")
            tasks.create_task(self._watch(), name="silence watch")
            tasks.create_task(self._look(), name="lag watch")
            for bucket in self._buckets:
                tasks.create_task(bucket.run(), name=f"bucket {bucket.number}")

    async def drain(self, timeout: float) -> int:
        """End every stream, also those that come from now on, each with its position; how many were still open after `timeout` seconds."""
        self._draining = True
        for bucket in self._buckets:
            for mailbox in bucket.mailboxes:
                mailbox.end("the server is stopping")
        try:
            async with asyncio.timeout(timeout):
                while self.streams:
                    self._gone.clear()
                    await self._gone.wait()
        except TimeoutError:
            pass
        return self.streams

    # What the subscriptions tell

    def arrived(self, channel: bytes, payload: bytes) -> None:
        """See fanout.subscription.Listener."""
        route = self._routes.get(channel)
        if route is None:
            if channel in self._called:
                self._called[channel]()
            return  # else unsubscribed, and the answer is still on its way
        try:
            if route.marks:
                route.bucket.arrived(decode_mark(payload), len(payload))
                return
            message = decode_message(payload)
        except UnreadableMessageError as error:
            _log.error("message.unreadable", channel=channel.decode(), reason=str(error))
            route.bucket.missed()
            return
        if message.event.user_id != route.user_id:
            _log.error("message.misrouted", channel=channel.decode(), seq=message.event.seq)
            route.bucket.missed()
            return
        route.bucket.arrived(message, len(payload))

    def joined(self, bucket: int) -> None:
        """See fanout.subscription.Listener."""
        self._buckets[bucket].joined()

    def interrupted(self, bucket: int) -> None:
        """See fanout.subscription.Listener."""
        self._buckets[bucket].interrupted()

    @contextmanager
    def _routed(self, channel: bytes, bucket: Bucket, user_id: str) -> Iterator[None]:
        route = self._routes.setdefault(channel, _Route(bucket, marks=False, user_id=user_id))
        route.streams += 1
        try:
            yield
        finally:
            route.streams -= 1
            if not route.streams:
                del self._routes[channel]

    async def _watch(self) -> None:
        """A subscription without marks is not to be trusted: replace it, and live on re-reads meanwhile."""
        while True:
            await self._clock.sleep(_WATCH_EVERY)
            silent = [bucket.number for bucket in self._buckets if bucket.silent]
            if silent:
                self._note_silence(silent)
                self._subscriptions.reconnect(silent)
            elif self._silence_noted and self.fresh():
                _log.info("marks.heard_again")
                self._silence_noted = False

    async def _look(self) -> None:
        """Redis, or the way to it, may be slow and never silent: what is late is read from Postgres.

        What it says of a log further than Postgres has it is doubted: forged, or the log lost its tail. If that stays, the bucket forgets it.
        """
        lags = [Lag() for _ in self._buckets]
        while True:
            await self._clock.sleep(_LOOK_EVERY)
            known = [bucket.known for bucket in self._buckets]
            try:
                end = (await self._history.reread([], after=NOTHING_ABOVE, upto=None)).last_seq
            except DatabaseUnavailableError:
                continue  # readiness asks for itself, and who wants a row learns of it
            now = self._clock.now()
            for bucket, told in zip(self._buckets, known, strict=True):
                if told > end:
                    bucket.doubted()
            late = [
                bucket
                for bucket, lag in zip(self._buckets, lags, strict=True)
                if bucket.joined_up and bucket.position is not None and lag.behind(bucket.position, end, now)
            ]
            for bucket in late:
                bucket.late()
            self._note_lag([bucket.number for bucket in late], now)

    def _note_lag(self, late: list[int], now: float) -> None:
        if late and (self._late_at is None or now - self._late_at > _CALM):
            _log.warning(
                "delivery.late",
                buckets=late,
                hint="Redis, or the way to it, is slow; streams are served from Postgres meanwhile",
            )
        self._late_at = now if late else self._late_at

    def _note_silence(self, silent: list[int]) -> None:
        if not self._silence_noted:
            _log.warning(
                "marks.silent",
                buckets=silent,
                hint="no bridge is leading, or Redis is in the way; streams are served from Postgres",
            )
        self._silence_noted = True
