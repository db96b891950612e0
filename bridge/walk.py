"""How far do claims in a row go past locked rows, before they begin again at the oldest row? The decision alone, without its statements.

Each leaves out whom an earlier one met behind a lock, and so they come past a long block of locked rows to those that can be stamped. A poll tries
again whatever was left out. If one always came before the end of the block, no row behind it would ever be stamped.
"""

from __future__ import annotations

# Seconds: so long a walk may come past locked rows without a poll, the first time.
PATIENCE = 10.0


class Walk:
    """The claims from one poll to the next. They have twice the time that they took to come past what could not be stamped: behind a block
    half of the time at least goes to rows that can be.

    But PATIENCE at most, or twice what the walk before took for it: a block of any length is passed in the end, and one without an end
    keeps nobody whose lock has gone waiting for ever.
    """

    def __init__(self, now: float) -> None:
        self._began = self._blocked_until = now
        self._most = PATIENCE
        self._more = False

    def begin(self, now: float) -> None:
        """A poll: the next claim begins at the oldest row."""
        self._most = max(PATIENCE, 2 * (self._blocked_until - self._began))
        self._began = self._blocked_until = now
        self._more = False

    def claimed(self, rows: int, *, more: bool, now: float) -> None:
        """A claim has stamped so many rows; would another find more?"""
        self._more = more
        if more and not rows:
            self._blocked_until = now

    def goes_on(self, now: float) -> bool:
        """Is it too early for a poll?"""
        return self._more and now - self._began < min(2 * (self._blocked_until - self._began), self._most)
