"""One bucket of users, as one web process hears it: messages in, mailboxes filled, holes found before anything later is handed out.

`position` is the seq up to which everything was handed out. Messages and marks are handled strictly in the order of arrival, by
one task. What does not join up with the position starts a re-read: one query of Postgres for all live streams of the bucket,
while everything that arrives waits. So does any interruption of the subscription; until that is joined again the bucket lives
on re-reads alone, one a second.

A stream that is not live (reading its backlog) takes no part in a re-read. It may go live only if none is running and none has
ended since its last snapshot was begun (`epoch`).
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from typing import TypeAlias

import structlog

from core import fail_points
from core.clock import Clock, happens
from core.errors import DatabaseUnavailableError, SlowReadError, StaleReadError, UnreadableRowError
from core.events import Event
from core.fail_points import Point
from db.history import NOTHING_ABOVE, History
from fanout.messages import Mark, Message
from web import sse
from web.gathering import Gathering
from web.mailbox import Delivery, Mailbox

_log = structlog.get_logger("bucket")

INBOX_ITEMS = 20_000
INBOX_BYTES = 32 << 20
SILENCE = 3.0
REREAD_EVERY = 1.0
FORGET_AFTER = 30.0
# Re-reads that may fail before the streams are to read each for itself.
TRIES = 3
# Seconds that a page may take: the whole bucket waits for it, and others for the session. One that is slow is tried but once more.
PATIENCE = 2.0
# Items handled, and events put into mailboxes, before everybody else gets a turn.
TURN_ITEMS = 2048
TURN_EVENTS = 65_536

Item: TypeAlias = Message | Mark


class Bucket:
    """The state of one bucket; `run` is its one task."""

    def __init__(
        self,
        number: int,
        history: History,
        clock: Clock,
        *,
        gathering: Gathering | None = None,
        inbox_bytes: int = INBOX_BYTES,
    ) -> None:
        self.number = number
        self.position: int | None = None
        self.epoch = 0
        self._history = history
        self._clock = clock
        self._heard = 0  # the greatest seq heard of
        self._inbox: deque[tuple[Item, int]] = deque()
        self._inbox_bytes = 0
        self._inbox_limit = inbox_bytes
        self._joined = asyncio.Event()
        self._rereads_wanted = 1
        self._rereads_done = 0
        self._rereading = False
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()  # set while no re-read runs
        self._idle.set()
        self._life = self._read_at = clock.now()
        self._mark_heard: float | None = None
        self._stale_since: float | None = None
        self._assumed = False  # is the position only that of the first stream to go live?
        self._failing = False
        self._failures = 0  # re-reads that failed, one after another
        self._too_much = False  # is it what they read, and not Postgres, that makes them fail?
        self._handed = 0  # events put into mailboxes in this turn
        self._gathering = gathering or Gathering(clock)
        self._mailboxes: defaultdict[str, set[Mailbox]] = defaultdict(set)

    # What the hub tells it

    def arrived(self, item: Item, size: int) -> None:
        """A message or a mark, in the order of arrival; `size` is its bytes."""
        if isinstance(item, Mark):
            self._count_life(item)
        else:
            self._heard = max(self._heard, item.event.seq)
        self._inbox.append((item, size))
        self._inbox_bytes += size
        if len(self._inbox) > INBOX_ITEMS or self._inbox_bytes > self._inbox_limit:
            self.missed()
        self._wake.set()

    def joined(self) -> None:
        """Every channel of the bucket is confirmed: a re-read begun from now on leaves no gap to what arrives."""
        self._joined.set()
        self._life = self._clock.now()
        self._want_reread()

    def interrupted(self) -> None:
        """Something may be missing, and nothing more arrives before `joined`."""
        self._joined.clear()
        self._mark_heard = None
        self.missed()

    def missed(self) -> None:
        """Something is missing: drop what waits and re-read, in a snapshot begun after the drop."""
        self._inbox.clear()
        self._inbox_bytes = 0
        self._want_reread()

    def late(self) -> None:
        """The log had more some time ago than has arrived: read it there."""
        self._want_reread()

    def doubted(self) -> None:
        """More was told than the log has: ask it, and forget that if it stays so."""
        self._want_reread()

    def shown(self, end: int) -> None:
        """A stream was shown the log up to there: no older read is to be believed from now on, not even before a mark says so."""
        self._heard = max(self._heard, end)

    # What others ask of it

    @property
    def silent(self) -> bool:
        """Joined, and without a sign of life for 3 s."""
        return self._joined.is_set() and self._clock.now() - self._life > SILENCE

    @property
    def subscribed(self) -> bool:
        """Is every channel of the bucket confirmed?"""
        return self._joined.is_set()

    @property
    def joined_up(self) -> bool:
        """Joined, and with nothing left to re-read?"""
        return self._joined.is_set() and self._rereads_done == self._rereads_wanted

    @property
    def marked(self) -> bool:
        """Was a mark of a leader heard within 3 s?"""
        return self._mark_heard is not None and self._clock.now() - self._mark_heard <= SILENCE

    @property
    def fresh(self) -> bool:
        """Does delivery run as it should: joined up, and a mark heard within 3 s?"""
        return self.marked and self.joined_up

    @property
    def known(self) -> int:
        """How far the log is known to have got: a read that saw less is not to be believed."""
        return max(self._heard, self.position or 0)

    @property
    def mailboxes(self) -> list[Mailbox]:
        """Those of all streams of the bucket."""
        return [mailbox for boxes in self._mailboxes.values() for mailbox in boxes]

    def add(self, mailbox: Mailbox) -> None:
        """A stream's mailbox gets what is handed out from now on."""
        self._mailboxes[mailbox.user_id].add(mailbox)

    def remove(self, mailbox: Mailbox) -> None:
        """The stream is gone."""
        boxes = self._mailboxes[mailbox.user_id]
        boxes.discard(mailbox)
        if not boxes:
            del self._mailboxes[mailbox.user_id]

    async def settled(self) -> int:
        """Wait until no re-read is running; the epoch a snapshot begun now belongs to."""
        await self._idle.wait()
        return self.epoch

    def go_live(self, mailbox: Mailbox, epoch: int, last: int) -> bool:
        """Make the stream live, unless a re-read has come between it and the snapshot, of last_seq `last`, it begun in `epoch`."""
        if self._rereading or self.epoch != epoch or mailbox.overflowed:
            return False
        if self.position is None or (self._assumed and last < self.position):
            # The re-read that is still due must begin below what any live stream lacks.
            self.position, self._assumed = last, True
        mailbox.live = True
        return True

    # Its task

    async def run(self) -> None:
        """Handle what arrives and re-read what is missing; returns only by cancellation."""
        while True:
            if self._rereads_done < self._rereads_wanted:
                self._gathering.end()
                await self._reread_until_done()
            elif not self._joined.is_set():
                await happens(self._joined, REREAD_EVERY)
                self._want_reread()
            elif not self.marked and self._clock.now() - self._read_at >= REREAD_EVERY:
                self._want_reread()  # however much arrives: it may be of long ago
            elif self._inbox:
                await self._turn()
            elif not await self._woken(REREAD_EVERY) and not self.marked:
                self._want_reread()

    async def _turn(self) -> None:
        """Handle what waits, up to a limit, and then let everybody else have a turn."""
        items, size = min(len(self._inbox), TURN_ITEMS), self._inbox_bytes
        for _ in range(items):
            if not self._handle_next() or self._handed >= TURN_EVENTS:
                break
        self._gathering.end_turn(items, size)
        await self._end_turn()

    def _count_life(self, mark: Mark) -> None:
        # A mark below our position comes from a leader of the past.
        self._heard = max(self._heard, mark.end)
        if self.position is None or mark.end >= self.position:
            self._life = self._clock.now()
            self._mark_heard = self._life

    def _want_reread(self) -> None:
        self._rereads_wanted += 1
        self._wake.set()

    def _handle_next(self) -> bool:
        """Handle the oldest item; False if it has to wait for a re-read."""
        item, size = self._inbox[0]
        position = self.position
        if position is None or item.start > position:
            self._want_reread()
            return False
        if isinstance(item, Message):
            if item.event.seq > position:
                self._hand_out(item.event)
        elif item.start < position < item.end:
            # Ranges join up, so that a position inside of one is none of this log's: its tail was lost.
            self._want_reread()
            return False
        elif item.end > position:
            self.position = item.end
        self._inbox.popleft()
        self._inbox_bytes -= size
        return True

    def _hand_out(self, event: Event, *, live_only: bool = False) -> None:
        boxes = self.mailboxes if event.user_id is None else list(self._mailboxes.get(event.user_id, ()))
        if boxes:
            delivery = Delivery(event.seq, sse.event(event))
            self._handed += len(boxes)
            base = 0 if self._assumed else self.position or 0
            now = self._clock.now()
            for mailbox in boxes:
                if mailbox.live or not live_only:
                    if mailbox.put(delivery, base):
                        self._handed = TURN_EVENTS  # it gets a turn before it overflows
                    if not mailbox.overflowed:
                        self._gathering.note(mailbox, now)

    async def _reread_until_done(self) -> None:
        serving = self._rereads_wanted
        try:
            await self._reread()
        except DatabaseUnavailableError as error:
            self._note_failure(error)
            self._too_much = self._too_much or isinstance(error, UnreadableRowError)
            self._failures = TRIES if isinstance(error, SlowReadError) else self._failures + 1
            await self._clock.sleep(self._clock.jitter(0.1, 1.0))
        else:
            self._failures, self._too_much = 0, False
            self._rereads_done = serving
            self._read_at = self._clock.now()
            self._assumed = False
            self._stale_since = None
            if self._failing:
                _log.info("reread.restored", bucket=self.number)
            self._failing = False

    async def _reread(self) -> None:
        boxes = self.mailboxes
        for mailbox in boxes:
            if not mailbox.live:
                mailbox.begin_anew()
        live = sorted({mailbox.user_id for mailbox in boxes if mailbox.live})
        self._rereading = True
        self._idle.clear()
        try:
            await self._reread_pages(live)
        finally:
            self._rereading = False
            self.epoch += 1
            self._idle.set()

    async def _reread_pages(self, live: list[str]) -> None:
        if live and (self._too_much or self._failures >= TRIES):
            end = (await self._history.reread([], after=NOTHING_ABOVE, upto=None, at_least=self.known)).last_seq
            if self._too_much:
                self._leave_to_streams()
                self.position = max(end, self.position or 0)
                return
            self._too_much = True  # for Postgres answers; if it fails once more
        # Without a live stream only the end of the log is of interest, and nobody waits for that.
        after = self.position if live and self.position is not None else NOTHING_ABOVE
        limit = None if after == NOTHING_ABOVE else PATIENCE
        upto: int | None = None
        while True:
            page = await self._history.reread(live, after=after, upto=upto, at_least=self.known, limit=limit)
            upto = page.last_seq if upto is None else upto
            if fail_points.armed:
                await fail_points.reach(Point.REREAD)
            if page.pruned_seq > after or page.rejoin is not None:
                self._leave_to_streams()
                break
            for event in page.events:
                self._hand_out(event, live_only=True)
                if self._handed >= TURN_EVENTS:
                    await self._end_turn()
            self._gathering.end()
            if not page.more:
                break
            self.position = after = page.events[-1].seq
        self.position = max(upto, self.position or 0)

    async def _end_turn(self) -> None:
        if self._handed >= TURN_EVENTS:
            self._gathering.end()
        self._handed = 0
        await asyncio.sleep(0)

    def _leave_to_streams(self) -> None:
        """What was missed is pruned, at least in part, or the log has lost our position, or some row is too much to be read, or takes
        too long: each stream finds out for itself, and says so; those that this is not about go on."""
        for mailbox in self.mailboxes:
            if mailbox.live:
                mailbox.overflow()

    def _note_failure(self, error: DatabaseUnavailableError) -> None:
        if not self._failing:
            _log.warning("reread.failed", bucket=self.number, reason=str(error))
        self._failing = True
        if not isinstance(error, StaleReadError):
            return
        now = self._clock.now()
        self._stale_since = self._stale_since or now
        if now - self._stale_since > FORGET_AFTER:
            self._forget()

    def _forget(self) -> None:
        """The log lost its tail for good: no position of ours means anything, and the streams are to come back for a `reset`."""
        _log.error("log.lost_tail", bucket=self.number, position=self.known)
        self.position = None
        self._heard = 0
        self._assumed = False
        self._stale_since = None
        # What still waits speaks of the lost tail: it would ask for re-reads that can never join up with it.
        self._inbox.clear()
        self._inbox_bytes = 0
        for mailbox in self.mailboxes:
            mailbox.end("the log lost its tail", silently=True)

    async def _woken(self, seconds: float) -> bool:
        self._wake.clear()
        return await happens(self._wake, seconds)
