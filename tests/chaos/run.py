"""One run: writers and clients over an ensemble, the schedule's faults, a quiet end, and all records of it.

Nothing here knows what a fault does: it is entered at its time and left after its length, and that stretch of time is what the judge excuses.
After the last fault the writers end, the clients stay, and one last row for everyone goes round; then the books are closed.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import psycopg

from tests.chaos.bounds import given_back
from tests.chaos.clients import STAY, ClientsConfig
from tests.chaos.holdings import holdings
from tests.chaos.oracle import Oracle
from tests.chaos.parts import part
from tests.chaos.probes import probe
from tests.chaos.records import Got, Notebook, Statement, Window, now, read
from tests.chaos.schedule import Planned, Schedule
from tests.chaos.writer import INSERT, WriterConfig

USERS = list(range(1, 13))
CANARY = 13
# Seconds. What is owed comes within the time that healing may take, and what was held comes back in it.
QUIET_WITHIN = 25.0
LAST = "the last row"


class Ensemble(Protocol):
    """What a run needs to know of the servers and processes it plays on."""

    @property
    def database_url(self) -> str:
        """The primary's, a superuser's, for writers; after a failover the new one's."""

    @property
    def redis_url(self) -> str:
        """The primary's, straight."""

    @property
    def webs(self) -> Sequence[tuple[str, str]]:
        """Each web process: the URL that clients use, and the one that leads straight to it."""

    def pids(self) -> Mapping[str, int]:
        """Rowcast's processes of now, by names that outlive restarts."""


class Fault(Protocol):
    """A kind of fault: `FAULTS[name]` of tests.chaos.faults."""

    @property
    def postgres(self) -> bool:
        """May it make writers fail?"""

    @property
    def forgets(self) -> bool:
        """May it lose the end of what was committed?"""

    def __call__(self, ensemble: Any, **arguments: Any) -> AbstractAsyncContextManager[Any]:
        """Broken on entry, put right on exit."""


@dataclass(slots=True)
class Books:
    """Where a run's records are, and what is known only here."""

    folder: Path
    commits: dict[str, int] = field(default_factory=dict)
    before: dict[str, float] = field(default_factory=dict)
    after: dict[str, float] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)  # the rig's own failures

    def path(self, name: str) -> Path:
        return self.folder / f"{name}.jsonl"

    @property
    def paths(self) -> list[Path]:
        return [self.path(name) for name in ("writers", "clients", "rig")]


class Run:
    """One run of a schedule over an ensemble that is up and ready."""

    def __init__(
        self,
        ensemble: Ensemble,
        schedule: Schedule,
        faults: Mapping[str, Fault],
        folder: Path,
        *,
        say: Callable[[str], None],
    ) -> None:
        self._ensemble = ensemble
        self._schedule = schedule
        self._faults = faults
        self._say = say
        self._books = Books(folder)
        self._oracle = Oracle(ensemble.database_url)

    async def run(self) -> Books:
        """Play it to its end; the books."""
        books = self._books
        await self._oracle.begin()
        books.before = await self._holdings()
        with Notebook(books.path("rig")) as book:
            async with self._watched(book):
                async with part(self._clients()) as clients, part(self._writers()) as writers:
                    await self._play(book)
                    await writers.end()
                    clients.say(STAY)
                    await self._all_quiet(book)
                    await clients.end()
                books.after = await self._given_back()
            for row in await self._oracle.finish():
                book.note(row)
        books.commits = self._oracle.commits
        return books

    def _writers(self) -> WriterConfig:
        return WriterConfig(
            self._schedule.seed, self._ensemble.database_url, USERS, CANARY, str(self._books.path("writers"))
        )

    def _clients(self) -> ClientsConfig:
        urls = [known for known, _ in self._ensemble.webs]
        book = str(self._books.path("clients"))
        return ClientsConfig(self._schedule.seed, urls, USERS, CANARY, book, self._schedule.seconds)

    @asynccontextmanager
    async def _watched(self, book: Notebook) -> AsyncIterator[None]:
        """Oracle and probes at work."""
        watchers = [asyncio.ensure_future(self._oracle.run()), asyncio.ensure_future(probe(self._ensemble.webs, book))]
        try:
            yield
        finally:
            for watcher in watchers:
                watcher.cancel()
            results = await asyncio.gather(*watchers, return_exceptions=True)
            self._books.broken += [repr(one) for one in results if isinstance(one, Exception)]

    async def _play(self, book: Notebook) -> None:
        start = now()
        async with asyncio.TaskGroup() as tasks:
            for planned in self._schedule.faults:
                tasks.create_task(self._inflict(planned, start, book), name=planned.name)
            await asyncio.sleep(self._schedule.seconds)

    async def _inflict(self, planned: Planned, start: float, book: Notebook) -> None:
        await asyncio.sleep(max(0.0, start + planned.at - now()))
        kind = self._faults[planned.name]
        began = now()
        self._say(f"{began - start:6.1f} s  {planned.name} {planned.arguments} for {planned.seconds:g} s")
        try:
            async with kind(self._ensemble, **planned.arguments):
                await asyncio.sleep(planned.seconds)
        except Exception:
            self._books.broken.append(f"{planned.name} {planned.arguments}: {traceback.format_exc()}")
        book.note(Window(planned.name, began, now(), kind.postgres, kind.forgets))
        self._say(f"{now() - start:6.1f} s  {planned.name} is over")

    async def _all_quiet(self, book: Notebook) -> None:
        """One last row for everyone; wait until every client has it, or long enough."""
        began = now()
        async with await psycopg.AsyncConnection.connect(self._ensemble.database_url, autocommit=True) as session:
            await session.execute(INSERT, (None, LAST, "the last of all", None))
        book.note(Statement("rig", "alone", began, now(), "committed", [(LAST, None)]))
        await _until(self._everybody_has_it, QUIET_WITHIN)

    async def _everybody_has_it(self) -> bool:
        lines = [(line, more["client"]) for line, more in read(self._books.path("clients"))]
        everybody = {client for _, client in lines}
        return everybody == {client for line, client in lines if isinstance(line, Got) and line.key == LAST}

    async def _given_back(self) -> dict[str, float]:
        """What is held once it is no more than before, or after long enough."""
        held: dict[str, float] = {}

        async def as_before() -> bool:
            held.update(await self._holdings())
            return not given_back(self._books.before, held)

        await _until(as_before, QUIET_WITHIN)
        return held

    async def _holdings(self) -> dict[str, float]:
        ensemble = self._ensemble
        return await holdings(ensemble.pids(), ensemble.database_url, ensemble.redis_url)


async def _until(condition: Callable[[], Awaitable[bool]], seconds: float) -> None:
    """Return once it is true, or after so many seconds."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while not await condition():
                await asyncio.sleep(0.3)
