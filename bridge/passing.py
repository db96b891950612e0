"""While a long backlog is stamped from its old end, rows of users who have nothing in it pass it.

Who they are is asked before each claim from the new end. What is known of the backlog grows old with time: it may name users whose rows were all
stamped since. They wait, and that is all.
"""

from __future__ import annotations

from core.clock import Clock
from db.backlog import Backlog, look_at_backlog, newcomers
from db.connect import Connection
from db.outbox import Pass

# Seconds between two looks at the backlog, and how much of the time they may take.
LOOK_EVERY = 1.0
SHARE = 0.05


class Passing:
    """One backlog after another, on the session that claims."""

    def __init__(self, session: Connection, clock: Clock) -> None:
        self._session = session
        self._clock = clock
        self._backlog: Backlog | None = None
        self._look_at = self._soonest = clock.now()

    def over(self) -> None:
        """The backlog is stamped; the next one is another."""
        self._backlog = None

    def outgrown(self) -> None:
        """So much came after it that it is to be looked at anew, as soon as may be."""
        self._look_at = min(self._look_at, self._soonest)

    async def leave(self) -> Pass | None:
        """For whoever may pass now; None if nobody may."""
        backlog = self._backlog
        if backlog is None or self._clock.now() >= self._look_at:
            backlog = self._backlog = await self._look()
        if backlog.users is None:
            return None
        found = await newcomers(self._session, backlog)
        if found.many:
            self.outgrown()
        elif not found.others:
            # Nobody waits for what another look could tell.
            self._look_at = max(self._look_at, self._clock.now() + LOOK_EVERY)
        return found.leave if found.leave.users else None

    async def _look(self) -> Backlog:
        began = self._clock.now()
        backlog = await look_at_backlog(self._session)
        ended = self._clock.now()
        self._soonest = ended + (ended - began) / SHARE
        self._look_at = max(self._soonest, ended + LOOK_EVERY)
        return backlog
