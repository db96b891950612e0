"""The heart of the bridge: stamp what is new, hand the range over, and fall asleep without missing a row.

It works on the session that holds the leader lock and on no other: who lost the lock can neither stamp nor touch the doorbell.
The loop is one turn after another: claim; then, by what it found, claim again, fall a step further asleep, or wait for the bell.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import structlog

from bridge.batch import BatchSize
from bridge.bell import Bell
from bridge.config import BridgeConfig
from bridge.nap import Nap, State
from bridge.stamper import Stamper, Taker
from core import fail_points
from core.clock import Clock
from core.events import Range
from core.fail_points import Point
from db import outbox
from db.connect import Connection

_log = structlog.get_logger("sequencer")

# Seconds. The poll is the claim session's heartbeat too, so it is never rarer than this.
HEARTBEAT = 1.0
# In the first seconds of a term more often: whoever waits to hear that somebody leads hears it soon.
YOUNG = 3.0
FIRST_HEARTBEAT = 0.2
# While something holds rows back (a lock, an old transaction) no NOTIFY tells that it went: poll fast at first, then less.
FIRST_POLL = 0.01
# Under load: how long between two claims, so that one commit carries several rows; up to the longest where rows come faster than one in
# PAUSE_PER_ROW, for each claim takes processors and the disk from those who write. And how long without rows before falling asleep.
BUSY_PAUSE, LONGEST_PAUSE = 0.002, 0.02
PAUSE_PER_ROW = 0.0005
BUSY_LINGER = 0.03
# The doorbell's mark holds for outbox.RING_FOR seconds.
RENEW_EVERY = outbox.RING_FOR / 3
# Turns in a row that found more waiting: from then on writers are spared the doorbell.
PRESSURE = 3


class Outlet(Taker, Protocol):
    """Where stamped ranges go, in order."""

    async def term_started(self, span: Range) -> None:
        """The first range of a term: no rows, from the last seq ever given to the term's start."""

    def alive(self, end: int) -> None:
        """The claim session answered just now, and all up to `end` was handed over: the second's heartbeat."""


class Sequencer:
    """One term of leadership. `run` until the session is lost, or cancelled."""

    def __init__(
        self,
        session: Connection,
        bell: Bell,
        outlet: Outlet,
        config: BridgeConfig,
        clock: Clock,
        *,
        batch: BatchSize | None = None,
        proved: Callable[[], None] = lambda: None,
        given: int = 0,
    ) -> None:
        """`batch` is what earlier terms learned. `proved` is called after each claim: this session can do what it is for.

        `given`: the last seq of this bridge's terms before.
        """
        self._proved = proved
        self._session = session
        self._bell = bell
        self._outlet = outlet
        self._config = config
        self._clock = clock
        self._nap = Nap()
        self._stamper = Stamper(session, outlet, clock, batch or BatchSize(config.batch), given)
        self._began = clock.now()
        self._pressure = 0
        self._last_rows = clock.now()
        self._next_poll = clock.now()
        self._poll_delay = config.poll_interval
        self._restless = False
        self._renew_at = clock.now()
        self._next_heartbeat = clock.now()
        self.stopping = False

    @property
    def given(self) -> int:
        """The last seq that was given, in this term or before it."""
        return self._stamper.end

    async def run(self) -> None:
        """Start a term, then stamp until told to stop; raises DatabaseUnavailableError when the session is lost."""
        if due := await outbox.term_due(self._session):
            await self._clock.sleep(due)
        span = await outbox.start_term(self._session, above=self._stamper.end)
        self._stamper.end = span.end
        _log.info("term.started", seq=span.end)
        if fail_points.armed:
            await fail_points.reach(Point.TERM_STARTED)
        await self._outlet.term_started(span)
        while not self.stopping:
            await self._turn()
        # Writers must not pay for a bridge that is not there.
        await outbox.set_doorbell(self._session, outbox.BUSY)

    async def _turn(self) -> None:
        polling = self._begin_poll_if_due()
        self._bell.take()
        found = await self._stamper.stamp_once()
        if found.busy:
            self._nap.woke_busy()  # also if somebody else set it, as a restored dump does
        self._proved()
        self._note_alive()
        await self._keep_ringing()
        self._plan_poll(polling)
        if found.rows:
            self._last_rows = self._clock.now()
        self._pressure = self._pressure + 1 if found.more or (found.rows and self._bell.rung) else 0
        if found.more:
            await self._spare_writers()
        elif self._nap.state is State.BUSY:
            await self._stay_or_doze_off(found.rows)
        else:
            self._nap.claimed_all()
            await self._sleep_or_look()

    async def _stay_or_doze_off(self, rows: int) -> None:
        """Busy: stay so while rows keep coming, else begin to fall asleep. Without a LISTEN nobody would hear a ring: just poll."""
        idle = self._clock.now() - self._last_rows
        if idle < BUSY_LINGER:
            await self._clock.sleep(pause_after(rows))
        elif self._bell.connected:
            await outbox.set_doorbell(self._session, outbox.WAITING)
            self._renew_at = self._clock.now() + RENEW_EVERY
            self._nap.waiting_set(await outbox.own_xid(self._session))
        else:
            await self._bell.wait(self._until_poll())

    async def _sleep_or_look(self) -> None:
        if self._nap.state is State.WAITING and self._nap.looked(await outbox.oldest_running(self._session)):
            return
        if self._pressure >= PRESSURE:
            await self._spare_writers()
        elif not self._bell.rung:
            await self._bell.wait(self._until_poll())

    async def _spare_writers(self) -> None:
        """Have writers stop ringing: we claim without being asked."""
        if self._nap.state is not State.BUSY and self._pressure >= PRESSURE:
            await outbox.set_doorbell(self._session, outbox.BUSY)
            self._nap.woke_busy()

    async def _keep_ringing(self) -> None:
        """Writers ring only for so long for a bridge of which nothing more is heard."""
        if self._nap.state is not State.BUSY and self._clock.now() >= self._renew_at:
            await outbox.renew_doorbell(self._session)
            self._renew_at = self._clock.now() + RENEW_EVERY

    def _begin_poll_if_due(self) -> bool:
        """On a poll whatever was held back is tried again."""
        if self._clock.now() < self._next_poll:
            return False
        if self._stamper.walk_goes_on:
            # Put off, so that the next walk does not begin on the heels of this one.
            self._next_poll = self._clock.now() + self._poll_delay
            return False
        self._stamper.begin_poll()
        return True

    def _plan_poll(self, polled: bool) -> None:
        """After a claim: when to look next without being asked."""
        restless = self._stamper.holds_back or self._nap.state is State.WAITING or not self._bell.connected
        if not polled and restless == self._restless:
            return
        longest = min(self._config.poll_interval, self._heartbeat())
        if not restless:
            self._poll_delay = longest
        else:
            self._poll_delay = min(self._poll_delay * 2, longest) if self._restless else FIRST_POLL
        self._restless = restless
        self._next_poll = self._clock.now() + self._poll_delay

    def _until_poll(self) -> float:
        return max(0.0, self._next_poll - self._clock.now())

    def _note_alive(self) -> None:
        now = self._clock.now()
        if now >= self._next_heartbeat:
            self._outlet.alive(self._stamper.end)
            self._next_heartbeat = now + self._heartbeat() * 0.9

    def _heartbeat(self) -> float:
        return FIRST_HEARTBEAT if self._clock.now() - self._began < YOUNG else HEARTBEAT


def pause_after(rows: int) -> float:
    """Seconds until the next claim, under load, after one that stamped so many."""
    return min(max(BUSY_PAUSE, rows * PAUSE_PER_ROW), LONGEST_PAUSE)
