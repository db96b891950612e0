"""Signs of life for quiet streams: one timer wheel for the whole process, not a timer for each stream.

A stream notes when it wrote last, and the wheel looks at it when that is so long ago: a write costs the wheel nothing. Each stream has
a patience of its own, so that those that wrote together do not beat together for ever.
"""

from __future__ import annotations

import asyncio
import heapq
import math

from core.clock import Clock, happens
from web.mailbox import Mailbox

# Seconds: streams that are due within the same of these are woken together.
GRAIN = 0.1
# The least patience, as a part of the longest.
_LEAST = 0.8


class Heartbeats:
    """Wakes streams that have been quiet for as long as they were told."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._slots: dict[float, list[Mailbox]] = {}
        self._times: list[float] = []  # a heap of the slots' times
        self._nearer = asyncio.Event()

    def watch(self, mailbox: Mailbox, longest: float) -> None:
        """Wake the stream whenever it has written nothing for `longest` seconds or a little less, until its mailbox is closed."""
        mailbox.wrote = self._clock.now()
        mailbox.patience = self._clock.jitter(longest * _LEAST, longest)
        self._look_later(mailbox)

    async def run(self) -> None:
        """Turn the wheel; returns only by cancellation."""
        while True:
            self._nearer.clear()
            if not self._times:
                await self._nearer.wait()
            elif (left := self._times[0] - self._clock.now()) > 0:
                await happens(self._nearer, left)
            else:
                self._turn()
                await asyncio.sleep(0)

    def _turn(self) -> None:
        now = self._clock.now()
        for mailbox in self._slots.pop(heapq.heappop(self._times)):
            if mailbox.closed:
                continue
            if _due(mailbox) <= now:
                mailbox.beat(now)
            self._look_later(mailbox)

    def _look_later(self, mailbox: Mailbox) -> None:
        at = _due(mailbox)
        if at not in self._slots:
            self._slots[at] = []
            heapq.heappush(self._times, at)
            self._nearer.set()
        self._slots[at].append(mailbox)


def _due(mailbox: Mailbox) -> float:
    """When it will have been quiet for long enough, as the time of a slot: never later than that."""
    grain = min(GRAIN, mailbox.patience / 8)
    return math.floor((mailbox.wrote + mailbox.patience) / grain) * grain
