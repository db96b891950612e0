"""Time and chance as arguments: the one place that reads them."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Protocol


class Clock(Protocol):
    """What the long-running parts need of time and chance."""

    def now(self) -> float:
        """Seconds of a clock that never goes back (not the time of day)."""

    def time(self) -> float:
        """Seconds since 1970, as this machine has them: they may jump, either way."""

    async def sleep(self, seconds: float) -> None:
        """Wait that long; never for less than one turn of the event loop."""

    def jitter(self, low: float, high: float) -> float:
        """A number drawn evenly from low to high."""


async def happens(event: asyncio.Event, seconds: float) -> bool:
    """Wait for the event; False if `seconds` passed first."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True


class SystemClock:
    """The machine's monotonic clock and Python's generator."""

    def __init__(self) -> None:
        self._random = random.Random()  # noqa: S311 -- spreads load, guards no secret

    def now(self) -> float:
        return time.monotonic()

    def time(self) -> float:
        return time.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def jitter(self, low: float, high: float) -> float:
        return self._random.uniform(low, high)
