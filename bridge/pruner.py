"""Beside a leader: let go of the old end of the log, round after round, on a session of its own.

It is no part of stamping: what goes wrong here is told and tried again later, and a leader that lost its lock takes it down. Should two
prune at once all the same, each row goes once (db/pruning.py).
"""

from __future__ import annotations

import structlog

from core.clock import Clock
from core.errors import RowcastError
from db.connect import session
from db.pruning import Rules, Tally, prune_all

_log = structlog.get_logger("pruner")

# A round begins each hundredth of the limit, within these bounds (seconds): rows are at most so much older than they may be.
SOONEST, LATEST = 1.0, 3600.0
# … and after one that failed, over a lock say: seconds at most.
AGAIN = 60.0
# Four parts of rest to one of work: what comes in goes first.
REST = 4.0
# Every entry of who viewed what is looked at for this.
VIEWED_EVERY = 86400.0


class Pruner:
    """Prunes by `rules` until it is cancelled."""

    def __init__(self, database_url: str, rules: Rules, clock: Clock) -> None:
        self._url = database_url
        self._rules = rules
        self._clock = clock
        self._pause = min(max(rules.older_than / 100, SOONEST), LATEST)
        self._viewed_due = clock.now()
        self._failing: str | None = None

    async def run(self) -> None:
        """Returns only by cancellation, whatever fails."""
        while True:
            tally = Tally()
            try:
                await self._round(tally)
                self._failing = None
            except RowcastError as error:
                self._complain(str(error))
            if tally.rows or tally.viewed:
                _log.info("pruner.pruned", rows=tally.rows, viewed=tally.viewed, upto=tally.pruned_seq)
            pause = min(self._pause, AGAIN) if self._failing else self._pause
            await self._clock.sleep(self._clock.jitter(pause * 0.9, pause))

    async def _round(self, tally: Tally) -> None:
        viewed = self._clock.now() >= self._viewed_due
        async with session(self._url, name="rowcast-prune") as connection:
            await prune_all(connection, self._rules, self._clock, tally, rest=REST, viewed=viewed)
        if viewed:
            self._viewed_due = self._clock.now() + VIEWED_EVERY

    def _complain(self, reason: str) -> None:
        if reason != self._failing:
            _log.warning("pruner.failed", reason=reason, hint="stamping goes on; tried again within a minute")
        self._failing = reason
