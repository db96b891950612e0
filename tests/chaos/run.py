"""One run: writers and clients over an ensemble, the schedule's faults, a quiet end, and all records of it.

Nothing here knows what a fault does: it is entered at its time and left after its length, and that stretch of time is what the judge excuses.
After the last fault the writers end, the clients stay, and one last row for everyone goes round; then the books are closed.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from tests.chaos import starvation
from tests.chaos.bounds import given_back
from tests.chaos.clients import STAY, ClientsConfig
from tests.chaos.ensemble import Ensemble
from tests.chaos.fault import Fault
from tests.chaos.holdings import holdings, sample
from tests.chaos.oracle import Oracle
from tests.chaos.parts import Part, part
from tests.chaos.probes import probe
from tests.chaos.records import Notebook, Statement, Window, now
from tests.chaos.schedule import Planned, Schedule
from tests.chaos.writer import INSERT, WriterConfig

USERS = list(range(1, 13))
CANARY = 13
# Seconds. What is owed comes within the time that healing may take, and what was held comes back in it.
QUIET_WITHIN, LONGEST_QUIET = 25.0, 120.0
SAMPLE_EVERY = 10.0
LAST = "the last row"


@dataclass(slots=True)
class Books:
    """Where a run's records are, and what is known only here."""

    folder: Path
    commits: dict[str, int] = field(default_factory=dict)
    before: dict[str, float] = field(default_factory=dict)
    after: dict[str, float] = field(default_factory=dict)
    whole_order: bool = True  # does `commits` have everything that was committed?
    awake: dict[str, list[tuple[float, float]]] = field(default_factory=dict)  # web URL → when it could answer
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
        rate: float,
    ) -> None:
        self._ensemble = ensemble
        self._schedule = schedule
        self._faults = faults
        self._say = say
        self._rate = rate
        self._books = Books(folder)
        self._oracle = Oracle(ensemble.writer_url)
        self._parts: list[Part] = []
        self._progress = True
        self._touched: set[str] = set()
        self._began = 0.0  # as files tell it
        self._freed = asyncio.Condition()

    async def run(self) -> Books:
        """Play it to its end; the books."""
        books = self._books
        await self._oracle.begin()
        self._began = time.time()
        await _until(self._all_told, QUIET_WITHIN)
        books.before = await self._holdings()
        with Notebook(books.path("rig")) as book:
            async with self._watched(book):
                async with (
                    part("tests.chaos.clients", self._clients()) as clients,
                    part("tests.chaos.writers", self._writers()) as writers,
                ):
                    self._parts = [clients, writers]
                    await self._play(book)
                    await writers.end()
                    clients.say(STAY)
                    await self._all_quiet(book)
                    await clients.end()
                books.after = await self._given_back()
            for row in await self._oracle.finish():
                book.note(row)
        books.commits, books.whole_order = self._oracle.commits, not self._oracle.began_anew
        books.awake = {
            known: web.awake() for known, web in zip(self._ensemble.client_urls, self._ensemble.webs, strict=True)
        }
        return books

    def _writers(self) -> WriterConfig:
        book = str(self._books.path("writers"))
        return WriterConfig(self._schedule.seed, self._ensemble.writer_url, USERS, CANARY, book, rate=self._rate)

    def _clients(self) -> ClientsConfig:
        urls = self._ensemble.client_urls
        book = str(self._books.path("clients"))
        return ClientsConfig(self._schedule.seed, urls, USERS, CANARY, book, self._schedule.seconds)

    @asynccontextmanager
    async def _watched(self, book: Notebook) -> AsyncIterator[None]:
        """Oracle and probes at work."""
        watchers = [
            asyncio.ensure_future(self._oracle.run()),
            asyncio.ensure_future(probe(self._web_urls(), book)),
            asyncio.ensure_future(starvation.watch(self._pids, book)),
            asyncio.ensure_future(sample(self._holdings, book, SAMPLE_EVERY)),
        ]
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
        async with self._alone_with(kind.target(planned.arguments)):
            began = broken = now()
            self._say(f"{began - start:6.1f} s  {planned.name} {planned.arguments} for {planned.seconds:g} s")
            try:
                async with kind(self._ensemble, **planned.arguments):
                    broken = now()
                    await asyncio.sleep(planned.seconds)
            except Exception:
                self._books.broken.append(f"{planned.name} {planned.arguments}: {traceback.format_exc()}")
            dark = tuple(known for web, known in self._known().items() if planned.darkens(web))
            book.note(Window(planned.name, began, broken, now(), kind.postgres, kind.forgets, dark))
            self._say(f"{now() - start:6.1f} s  {planned.name} is over")

    @asynccontextmanager
    async def _alone_with(self, targets: set[str]) -> AsyncIterator[None]:
        """Wait until no other fault touches any of these: putting right may take longer than was planned."""
        async with self._freed:
            await self._freed.wait_for(lambda: not self._touched & targets)
            self._touched |= targets
        try:
            yield
        finally:
            async with self._freed:
                self._touched -= targets
                self._freed.notify_all()

    async def _all_quiet(self, book: Notebook) -> None:
        """One last row for everyone; wait until every client has it, or long enough."""
        came = self._books.path("clients")
        with came.open("rb") as lines:
            lines.seek(0, os.SEEK_END)
            began = now()
            async with await psycopg.AsyncConnection.connect(self._ensemble.writer_url, autocommit=True) as session:
                await session.execute(INSERT, (None, LAST, "the last of all", None))
            book.note(Statement("rig", "alone", began, now(), "committed", [(LAST, None)]))
            missing = {f"c{number}" for number in range(self._clients().clients)}

            async def everybody_has_it() -> bool:
                for line in lines:
                    self._progress = self._progress or b'"message"' in line
                    if LAST.encode() in line:
                        missing.discard(json.loads(line)["client"])
                return not missing

            # As long as rows come, however slowly, it is worth to wait: what was late is seen from the records.
            until = now() + LONGEST_QUIET
            while missing and self._progress and now() < until:
                self._progress = False
                await _until(everybody_has_it, QUIET_WITHIN)

    async def _given_back(self) -> dict[str, float]:
        """What is held once it is no more than before, or after long enough."""
        held: dict[str, float] = {}

        async def as_before() -> bool:
            if not await self._all_told():
                return False
            held.update(await self._holdings())
            return not given_back(self._books.before, held)

        await _until(as_before, QUIET_WITHIN)
        return held

    async def _all_told(self) -> bool:
        """Has every process said since the run began what only it knows?"""
        files = [self._ensemble.inside / str(pid) for pid in self._places().values()]
        return all(file.exists() and file.stat().st_mtime > self._began for file in files)

    async def _holdings(self) -> dict[str, float]:
        ensemble = self._ensemble
        return await holdings(self._places(), ensemble.inside, ensemble.writer_url, ensemble.redis.primary.url)

    def _places(self) -> dict[str, int]:
        return {place.name: place.pid for place in self._ensemble.places.values() if place.running}

    def _pids(self) -> list[int]:
        """Of the rig, its parts, and Rowcast's processes."""
        return [os.getpid(), *(each.pid for each in self._parts), *self._places().values()]

    def _web_urls(self) -> list[tuple[str, str]]:
        """Of each web process: the URL that clients use, and the one that leads straight to it."""
        return list(zip(self._ensemble.client_urls, (web.url for web in self._ensemble.webs), strict=True))

    def _known(self) -> dict[str, str]:
        """The URL that clients use of each web process, by its name."""
        return dict(zip((web.name for web in self._ensemble.webs), self._ensemble.client_urls, strict=True))


async def _until(condition: Callable[[], Awaitable[bool]], seconds: float) -> None:
    """Return once it is true, or after so many seconds."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while not await condition():
                await asyncio.sleep(0.3)
