"""Claims in a row: what each hands over, what it makes the next one leave out, and where that one has to look; and who passes a backlog.

It works on the session that holds the leader lock and on no other, as the sequencer does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import structlog

from bridge.batch import BatchSize
from bridge.passing import Passing
from bridge.walk import Walk
from core import fail_points
from core.clock import Clock
from core.errors import DatabaseUnavailableError
from core.events import Range
from core.fail_points import Point
from db import outbox
from db.connect import Connection
from db.outbox import EVERYWHERE, NOTHING_HELD, SOURCES, Claim, HeldBack, Look, Pass, Source

_log = structlog.get_logger("sequencer")

# Seconds between two looks at all rows, which find those that name another birth than their own and came round the trigger that tells of such.
# It is slow under an old snapshot, and takes no more than this share of the time.
MOST_OFTEN, MOST_SELDOM = 1.0, 10.0
SHARE = 0.01

_SLOW_HINT = (
    "the next claims take at most so many rows; is there a slow UPDATE trigger on notifications, or a cut network?"
)


# So many full batches in a row are a backlog, which those pass who have nothing in it.
LONG = 3


class Taker(Protocol):
    """Who takes what was stamped."""

    async def stamped(self, source: Source, span: Range) -> None:
        """A range to be read and published; each begins where the last one ended."""

    async def kept_up(self) -> None:
        """Return once little of what was stamped waits to be read, or when it is no use waiting."""


@dataclass(slots=True)
class Found:
    """What one round of claims found: rows stamped, whether more wait, whether somebody had set the doorbell to busy."""

    rows: int = 0
    more: bool = False
    busy: bool = False


@dataclass(slots=True)
class _Progress:
    """How far one source has got: `full`, how many batches in a row were."""

    passing: Passing
    walk: Walk
    held_back: HeldBack = NOTHING_HELD
    look: Look = EVERYWHERE
    full: int = 0


class Stamper:
    """For one term of leadership."""

    def __init__(self, session: Connection, taker: Taker, clock: Clock, batch: BatchSize, end: int) -> None:
        """`batch` is what earlier terms learned, `end` the end of the log."""
        self._session = session
        self._taker = taker
        self._clock = clock
        self._batch = batch
        self._sources = {source: _Progress(Passing(session, clock), Walk(clock.now())) for source in SOURCES}
        self._look_everywhere_at = clock.now()
        self.end = end

    @property
    def holds_back(self) -> bool:
        """Is anything left out until the next poll?"""
        return any(progress.held_back for progress in self._sources.values())

    @property
    def walk_goes_on(self) -> bool:
        """Are claims on their way past locked rows? Then a poll is too early: it would take them back to the oldest row."""
        now = self._clock.now()
        return any(progress.walk.goes_on(now) for progress in self._sources.values())

    def begin_poll(self) -> None:
        """Whatever was held back is tried again, and now and then all rows are looked at."""
        now = self._clock.now()
        due = now >= self._look_everywhere_at
        for progress in self._sources.values():
            progress.held_back = NOTHING_HELD
            progress.walk.begin(now)
            if due:
                progress.look = replace(progress.look, everywhere=True)

    async def stamp_once(self) -> Found:
        """Claim from every source, and hand over what was stamped once that is committed."""
        found = Found()
        for source, progress in self._sources.items():
            if progress.full >= LONG:
                # What is stamped too early holds up what passes: they leave in the order of the log.
                await self._taker.kept_up()
            claim = await self._claim_oldest(source, progress)
            await self._hand_over(source, progress, claim, found)
            found.more = found.more or claim.more
            if progress.full >= LONG:
                await self._let_pass(source, progress, found)
        return found

    async def _claim_oldest(self, source: Source, progress: _Progress) -> Claim:
        look = progress.look
        claim = await self._claim(source, progress)
        progress.look = claim.look
        progress.walk.claimed(claim.rows, more=claim.more, now=self._clock.now())
        if look.everywhere:
            self._look_everywhere_at = self._clock.now() + min(max(claim.seconds / SHARE, MOST_OFTEN), MOST_SELDOM)
        if claim.more:
            progress.full += 1
        else:
            progress.full = 0
            progress.passing.over()
        return claim

    async def _let_pass(self, source: Source, progress: _Progress, found: Found) -> None:
        leave = await progress.passing.leave()
        if leave is None:
            return
        claim = await self._claim(source, progress, leave)
        if claim.more:
            progress.passing.outgrown()
        await self._hand_over(source, progress, claim, found)

    async def _hand_over(self, source: Source, progress: _Progress, claim: Claim, found: Found) -> None:
        progress.held_back = claim.held_back
        found.rows += claim.rows
        found.busy = found.busy or claim.mark == outbox.BUSY
        if claim.stamped is not None:
            self.end = claim.stamped.end
            if fail_points.armed:
                await fail_points.reach(Point.CLAIMED)
            await self._taker.stamped(source, claim.stamped)

    async def _claim(self, source: Source, progress: _Progress, past: Pass | None = None) -> Claim:
        began = self._clock.now()
        try:
            claim = await outbox.claim(
                self._session,
                source,
                progress.held_back,
                batch=self._batch.rows,
                log_end=self.end,
                look=progress.look,
                past=past,
            )
        except DatabaseUnavailableError:
            if self._batch.failed(self._clock.now() - began):
                _log.warning("claim.too_slow", rows=self._batch.rows, hint=_SLOW_HINT)
            raise
        self._batch.claimed(claim.rows, claim.seconds)
        return claim
