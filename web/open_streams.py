"""How many streams of this process are open, by user and by address."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from web.refusals import Cap, Refusals


class OpenStreams:
    """Counts, and refuses what is over `most` (0: nothing) for one of them."""

    def __init__(self, cap: Cap, most: int, refusals: Refusals) -> None:
        self._cap = cap
        self._most = most
        self._refusals = refusals
        self._open: dict[str, int] = {}

    @contextmanager
    def entered(self, whose: str) -> Iterator[bool]:
        """Inside, one more of theirs is open if there was room, which is what this says."""
        count = self._open.get(whose, 0)
        if self._most and count >= self._most:
            self._refusals.count(self._cap)
            yield False
            return
        self._open[whose] = count + 1
        try:
            yield True
        finally:
            self._leave(whose)

    def _leave(self, whose: str) -> None:
        if self._open[whose] == 1:
            del self._open[whose]
        else:
            self._open[whose] -= 1
