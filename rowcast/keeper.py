"""Keep places filled: a child that ends by itself is started again, with growing, jittered waits, and one line about it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from core.clock import Clock
from core.errors import RowcastError
from core.supervise import delay_after
from rowcast.children import Child

# A child that ran for so long has proved itself: its next end counts as the first.
_PROVED_AFTER = 10.0


@dataclass(slots=True)
class Place:
    """Something that must always run. `start` blocks until a new child runs; `child` is the one there now."""

    name: str
    start: Callable[[], Child]
    child: Child | None = field(default=None, init=False)

    @property
    def pid(self) -> int | None:
        return self.child.pid if self.child else None


class Keeper:
    """Fills places. `say` gets a line for each child that ended, `changed` is called when a child was replaced."""

    def __init__(self, clock: Clock, say: Callable[[str], None], changed: Callable[[], None]) -> None:
        self._clock = clock
        self._say = say
        self._changed = changed
        self._child_ended = asyncio.Event()

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Hear of children that end; `keep` works only inside."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGCHLD, self._announce)
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGCHLD)

    async def fill(self, place: Place) -> Child:
        """Start the child of a place. Cancelled meanwhile, it still ends what it started."""
        starting = asyncio.get_running_loop().run_in_executor(None, place.start)
        try:
            place.child = await asyncio.shield(starting)
        except asyncio.CancelledError:
            await asyncio.to_thread((await starting).stop)
            raise
        return place.child

    async def empty(self, place: Place) -> None:
        """Stop the child of a place, if there is one; returns when it is gone."""
        if place.child is not None:
            await asyncio.to_thread(place.child.stop)

    async def keep(self, place: Place) -> None:
        """Replace the child of a filled place whenever it ends; runs until cancelled and leaves the last child running."""
        failures = 0
        while True:
            began = self._clock.now()
            why = await self._end_of(place)
            failures = 1 if self._clock.now() - began > _PROVED_AFTER else failures + 1
            delay = delay_after(failures, self._clock)
            self._say(f"{place.name} ended ({why}); starting it again in {delay:.1f} s")
            await self._clock.sleep(delay)
            try:
                await self.fill(place)
            except RowcastError as error:
                self._say(f"{place.name}: {error}")
            else:
                self._changed()

    async def _end_of(self, place: Place) -> str:
        child = place.child
        while child is not None and child.alive():
            self._child_ended.clear()
            if child.alive():
                await self._child_ended.wait()
        return child.ended() if child else "not started"

    def _announce(self) -> None:
        self._child_ended.set()
