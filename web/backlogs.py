"""What streams read from the log, asked for in batches: of thousands that come back at once, Postgres gets a few dozen statements.

A batch is what came while the one before it was read, so that a single stream waits for nobody. All of it is one snapshot, begun after
every one of its streams had asked; each stream judges it by what it knew itself.

A row that takes long, or that Postgres can't write out, is the trouble of the streams it is for: their batch is broken up, each
is read for itself, on other sessions, and those that were slow stay out of batches for a while.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from core.clock import Clock
from core.errors import DatabaseUnavailableError, SlowReadError, UnreadableRowError
from db.history import Asked, History, Page

# Streams in one batch.
MOST = 128
# Seconds that a batch may keep others waiting.
PATIENCE = 2.0
# Seconds for which a user whose rows were slow is read alone, and how many may be: if all are slow, it is not the fault of one's rows.
APART = 60.0
MOST_APART = 16


@dataclass(eq=False, slots=True)
class _Reading:
    """One stream's wish; `known` is how far the log is known to have got, now."""

    user_id: str
    after: int
    upto: int | None
    unread: bool
    known: Callable[[], int]
    page: asyncio.Future[Page] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def asked(self) -> Asked:
        return Asked(self.user_id, self.after, self.upto, self.unread, self.known())

    def answer(self, page: Page | Exception) -> None:
        """Hand it over, unless the stream is gone."""
        if self.page.done():
            return
        if isinstance(page, Exception):
            self.page.set_exception(page)
        else:
            self.page.set_result(page)


class Backlogs:
    """Reads pages for all streams of the process; `run` is its task."""

    def __init__(self, history: History, clock: Clock) -> None:
        self._history = history
        self._clock = clock
        self._waiting: deque[_Reading] = deque()
        self._asked = asyncio.Event()
        self._apart: dict[str, float] = {}  # users, and until when they are read alone

    async def page(self, user_id: str, *, after: int, upto: int | None, unread: bool, known: Callable[[], int]) -> Page:
        """As History.replay: begun after this was called, and with all that was `known` when it began."""
        reading = _Reading(user_id, after, upto, unread, known)
        self._waiting.append(reading)
        self._asked.set()
        return await reading.page

    async def run(self) -> None:
        """Read for whoever asks; returns only by cancellation."""
        batch: list[_Reading] = []
        try:
            async with asyncio.TaskGroup() as alone:
                while True:
                    batch = []
                    await self._asked.wait()
                    batch = self._take(alone)
                    if batch:
                        await self._read(batch, alone)
        finally:
            self._fail([*batch, *self._waiting], _stopping())

    def _take(self, alone: asyncio.TaskGroup) -> list[_Reading]:
        """The next batch. Whoever is to be read alone leaves the queue here, too."""
        batch: list[_Reading] = []
        while self._waiting and len(batch) < MOST:
            reading = self._waiting.popleft()
            if reading.page.done():
                continue  # the stream is gone
            if self._apart and self._is_apart(reading.user_id):
                self._read_alone(reading, alone)
            else:
                batch.append(reading)
        if not self._waiting:
            self._asked.clear()
        return batch

    async def _read(self, batch: list[_Reading], alone: asyncio.TaskGroup) -> None:
        try:
            pages = await self._history.replay_many([reading.asked() for reading in batch], limit=PATIENCE)
        except (SlowReadError, UnreadableRowError):
            for reading in batch:
                self._read_alone(reading, alone)
        except DatabaseUnavailableError as error:
            waiting, self._waiting = self._waiting, deque()
            self._fail([*batch, *waiting], error)
        else:
            for reading, page in zip(batch, pages, strict=True):
                reading.answer(page)

    def _read_alone(self, reading: _Reading, alone: asyncio.TaskGroup) -> None:
        alone.create_task(self._one(reading), name="backlog alone")

    async def _one(self, reading: _Reading) -> None:
        began = self._clock.now()
        one = reading.asked()
        try:
            page: Page | Exception = await self._history.replay(
                one.user_id, after=one.after, upto=one.upto, unread=one.unread, at_least=one.at_least
            )
        except DatabaseUnavailableError as error:
            page = error
        except asyncio.CancelledError:
            reading.answer(_stopping())
            raise
        now = self._clock.now()
        if now - began > PATIENCE / 2:
            self._apart = {user: until for user, until in self._apart.items() if until >= now}
            if len(self._apart) < MOST_APART:
                self._apart[one.user_id] = now + APART
        reading.answer(page)

    def _is_apart(self, user_id: str) -> bool:
        until = self._apart.get(user_id)
        if until is not None and until < self._clock.now():
            del self._apart[user_id]
            return False
        return until is not None

    def _fail(self, readings: list[_Reading], error: DatabaseUnavailableError) -> None:
        for reading in readings:
            reading.answer(error)


def _stopping() -> DatabaseUnavailableError:
    return DatabaseUnavailableError("The server is stopping.")
