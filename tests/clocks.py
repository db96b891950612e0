"""Clocks that tests turn by hand. Both are a core.clock.Clock."""

from __future__ import annotations

import asyncio

BEGIN = 1000.0
EPOCH = 1_800_000_000.0  # the time of day at which hand clocks begin, in 2027


class HandClock:
    """Stands still until somebody calls `advance`; jitter is the middle."""

    def __init__(self) -> None:
        self._now = BEGIN
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []
        self.slept: list[float] = []

    def now(self) -> float:
        return self._now

    def time(self) -> float:
        return EPOCH + self._now - BEGIN

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        future = asyncio.get_running_loop().create_future()
        self._sleepers.append((self._now + seconds, future))
        await future

    def jitter(self, low: float, high: float) -> float:
        return (low + high) / 2

    def advance(self, seconds: float) -> None:
        self._now += seconds
        for due, future in self._sleepers:
            if due <= self._now and not future.done():
                future.set_result(None)
        self._sleepers = [sleeper for sleeper in self._sleepers if not sleeper[1].done()]

    @property
    def sleeping(self) -> int:
        """How many wait for the time to pass."""
        return sum(not future.done() for _, future in self._sleepers)


class QuickClock(HandClock):
    """Whoever sleeps makes the time pass, and waits for one turn of the event loop only."""

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.advance(seconds)
        await asyncio.sleep(0)
