"""Does what Redis carries come in time? The log itself tells: what it had 3 s ago, a bucket must have by now (pure).

Marks can't tell it: on a slow way they come late too, one after another, and join up.
"""

from __future__ import annotations

PATIENCE = 3.0


class Lag:
    """One bucket's."""

    def __init__(self) -> None:
        self._end = 0  # what the log had got to
        self._since = 0.0
        self._met = True

    def behind(self, position: int, end: int, now: float) -> bool:
        """Is a bucket at `position` late, `now` (seconds) that the log has got to `end`?"""
        self._met = self._met or position >= self._end or end < self._end
        if self._met:
            self._end, self._since, self._met = end, now, False
        return position < self._end and now - self._since >= PATIENCE
