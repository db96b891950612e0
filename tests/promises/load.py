"""Load for tests that break something under it: a writer, streams of its users, and the judgement when all is quiet again.

The truth is the table, read at the end: an INSERT whose answer was lost may have been committed or not.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import psycopg

from tests.event_source import Dispatched, EventSource, open_stream
from tests.rig import Rig

_log = logging.getLogger("tests.load")

USERS = (1, 2, 3)
KEY = "load"  # of the writer's own rows
EVERYONE = 10  # each row of a number that this divides is for everyone
# Bursts with pauses between: the bridge is asleep, busy and on its way from one to the other, again and again.
BURST = 50
# A pause is at least as long as the burst before it took, so that a slow machine is not simply overrun.
PAUSE = 0.2


@dataclass
class Writer:
    """Inserts row after row for users 1 to 3 and now and then for everyone, each after the last one's commit, numbered from 1."""

    own: Rig
    pause: float = PAUSE
    everyone: int | None = EVERYONE
    number: int = 0  # of the last row begun
    begun: dict[int, float] = field(default_factory=dict)  # when, by the monotonic clock
    committed: list[int] = field(default_factory=list)  # of those that Postgres has confirmed
    refused: list[str] = field(default_factory=list)  # what Postgres said instead
    slowest: float = 0.0  # seconds that one INSERT took
    _stopping: bool = False

    async def run(self) -> None:
        while not self._stopping:
            try:
                async with self.own.sql() as sql:
                    began = time.monotonic()
                    while not self._stopping:
                        await self._insert(sql)
                        if self.number % BURST == 0:
                            await asyncio.sleep(max(self.pause, time.monotonic() - began))
                            began = time.monotonic()
            except psycopg.Error as error:
                self.refused.append(str(error))
                await asyncio.sleep(0.1)  # Postgres itself is in trouble; a client would wait, too

    async def _insert(self, sql: psycopg.AsyncConnection[tuple[object, ...]]) -> None:
        self.number += 1
        user = None if self.everyone and self.number % self.everyone == 0 else USERS[self.number % 3]
        began = self.begun[self.number] = time.monotonic()
        await sql.execute(
            "INSERT INTO notifications (user_id, key, message) VALUES (%s, %s, %s)", (user, KEY, str(self.number))
        )
        self.slowest = max(self.slowest, time.monotonic() - began)
        self.committed.append(self.number)

    def unharmed(self, *, slowest: float = 5.0) -> None:
        """No INSERT so far failed, and none took longer than so many seconds: what other tests beside this one leave of the machine."""
        assert self.refused == []
        assert self.slowest < slowest

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.run(), name="writer")
            try:
                yield
            finally:
                self._stopping = True


@dataclass
class Load:
    """A writer at work and the streams that hear it: of users 1 to 3, from each URL in turn."""

    own: Rig
    writer: Writer
    streams: list[EventSource]

    async def flows(self, *, within: float = 10.0) -> float:
        """Wait until every stream has a row that was inserted after now; the seconds it took."""
        began, number = time.monotonic(), self.writer.number
        deadline = asyncio.get_running_loop().time() + within
        for stream in self.streams:
            left = max(0.0, deadline - asyncio.get_running_loop().time())
            try:
                await stream.until(lambda stream=stream: _newest(stream) > number, timeout=left)  # type: ignore[misc]
            except TimeoutError:
                raise AssertionError(
                    f"{within:g} s after row {number} {stream.url} has {_newest(stream)}, written are {self.writer.number}; "
                    f"{stream.connections} connections, {stream.ends} ended, last answers {stream.statuses[-5:]}"
                ) from None
        took = time.monotonic() - began
        _log.info("every stream has a row of its own again after %.2f s", took)
        return took

    def latest(self, user: int, since: float) -> float:
        """How many seconds after its INSERT began the latest of the writer's rows reached a stream of this user, of those begun after `since`."""
        late = 0.0
        for stream in self.streams:
            if user_of(stream) == user:
                for event, came in zip(stream.events, stream.times, strict=True):
                    began = self.writer.begun[int(event.json["message"])] if _is_ours(event) else 0.0
                    late = max(late, came - began if began > since else 0.0)
        return late

    async def judge(self, *, within: float = 30.0) -> None:
        """Every stream has every row of its user, or for everyone, that is in the table: once, whole, in one order for all."""
        truth = await self._table()
        assert {message for _, (_, key, message) in truth.items() if key == KEY} >= set(map(str, self.writer.committed))
        seqs: dict[int, str] = {}
        for stream in self.streams:
            user = user_of(stream)
            due = {row: message for row, (to, _, message) in truth.items() if to in (None, user)}
            await _judge_stream(stream, due, within)
            for event in stream.notifications:
                assert seqs.setdefault(event.json["id"], event.last_event_id) == event.last_event_id

    async def _table(self) -> dict[int, tuple[int | None, str | None, str]]:
        async with self.own.sql() as sql:
            rows = await (await sql.execute("SELECT id, user_id, key, message FROM notifications")).fetchall()
        return {row: (user, key, message) for row, user, key, message in rows}


async def _judge_stream(stream: EventSource, due: dict[int, str], within: float) -> None:
    try:
        await stream.until(lambda: sum(event.type == "message" for event in stream.events) >= len(due), timeout=within)
    except TimeoutError:
        missing = sorted(due.keys() - {event.json["id"] for event in stream.notifications})
        raise AssertionError(f"{stream.url} lacks {len(missing)} of {len(due)}: {missing[:10]}") from None
    got = [event.json for event in stream.notifications]
    assert {event["id"]: event["message"] for event in got} == due
    assert len(got) == len(due), f"{stream.url} got {len(got) - len(due)} rows twice"
    assert not stream.of_type("reset")
    seqs = [int(event.last_event_id) for event in stream.notifications]
    assert seqs == sorted(seqs)
    numbers = [int(event["message"]) for event in got if event["key"] == KEY]
    assert numbers == sorted(numbers), "one writer's rows are out of order"


def user_of(stream: EventSource) -> int:
    """Whose stream it is."""
    return int(stream.url.partition("/events/")[2].partition("?")[0])


def _newest(stream: EventSource) -> int:
    """The number of the last of the writer's rows on this stream."""
    return next((int(event.json["message"]) for event in reversed(stream.events) if _is_ours(event)), 0)


def _is_ours(event: Dispatched) -> bool:
    return event.type == "message" and event.json["key"] == KEY


@asynccontextmanager
async def under_load(
    own: Rig, *urls: str, pause: float = PAUSE, everyone: int | None = EVERYONE
) -> AsyncIterator[Load]:
    """Streams of users 1 to 3, from each web process, and a writer straight into Postgres; at the end everything written has arrived
    once, in order. `pause`: seconds after each 50 rows. `everyone`: how often a row is for everyone."""
    writer = Writer(own, pause, everyone)
    async with open_streams([f"{url}/events/{user}" for url in urls for user in USERS]) as streams:
        load = Load(own, writer, streams)
        for stream in streams:
            await stream.live()
        async with writer.writing():
            await load.flows(within=30)
            yield load
            await load.flows(within=30)
        await load.judge()


@asynccontextmanager
async def open_streams(urls: Sequence[str], *, reconnect: bool = True) -> AsyncIterator[list[EventSource]]:
    """One client for each URL, until the end of the block."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(open_stream(url, reconnect=reconnect)) for url in urls]
