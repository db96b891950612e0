"""How many rows the next claim may stamp: as many as are done in about a second, whatever a trigger of the users' own does to each.

A claim that takes longer than a statement may is given up, and all its rows with it; the same again would fail again, for ever.
"""

from __future__ import annotations

# Seconds: what a claim may take without the next being smaller, and what one that failed must have taken for the same.
SLOW = 1.0
TOO_SLOW = 5.0
_SHRINK = 4


class BatchSize:
    """Kept over sessions and terms: what was too much for one is too much for the next."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.rows = most

    def claimed(self, rows: int, seconds: float) -> None:
        """A claim stamped so many rows in that time, its commit left out: a standby or a disk that is slow takes as long over one row."""
        if rows and seconds > SLOW:
            self.rows = max(1, int(min(rows, self.rows) * SLOW / seconds))
        elif rows >= self.rows and seconds < SLOW / 2:
            self.rows = min(self._most, self.rows * 2)

    def failed(self, seconds: float) -> bool:
        """A claim failed after that time; True if the next will be smaller for it."""
        if seconds < TOO_SLOW or self.rows == 1:
            return False
        self.rows = max(1, self.rows // _SHRINK)
        return True
