"""The log as the web reads it, filled without a bridge: rows inserted, stamped and read back by the bridge's own statements."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import psycopg

from core.events import Event, Range
from db.connect import Connection, DatabaseConfig, open_pool, session
from db.history import History
from db.outbox import NOTHING_HELD, SOURCES, claim, read_range
from fanout.messages import Message


class Log:
    """One database's log. `add` stamps rows as one range; `end` is where the next one begins."""

    def __init__(self, url: str, sql: psycopg.AsyncConnection[tuple[Any, ...]], bridge: Connection) -> None:
        self.url = url
        self.sql = sql
        self._bridge = bridge
        self.end = 0

    async def add(self, *users: int | None, message: str = "hello") -> list[Message]:
        """One row for each of these users (None: everyone), in one range; as the bridge would publish them."""
        async with self.sql.cursor() as cursor:
            await cursor.executemany(
                "INSERT INTO notifications (user_id, message) VALUES (%s, %s)", [(user, message) for user in users]
            )
        return await self.stamp()

    async def stamp(self) -> list[Message]:
        """Stamp what is there."""
        done = await claim(self._bridge, SOURCES[0], NOTHING_HELD, batch=100_000)
        assert done.stamped is not None
        self.end = done.stamped.end
        return [Message(event, done.stamped.start) for event in await read_back(self._bridge, done.stamped)]

    async def move(self, **columns: int) -> None:
        """Change rowcast.state by hand."""
        for name, value in columns.items():
            await self.sql.execute(
                psycopg.sql.SQL("UPDATE rowcast.state SET {} = %s").format(psycopg.sql.Identifier(name)), (value,)
            )


async def read_back(bridge: Connection, span: Range) -> list[Event]:
    """All events of a range."""
    return [event async for event in read_range(bridge, SOURCES[0], span)]


@asynccontextmanager
async def open_log(url: str) -> AsyncIterator[tuple[Log, History]]:
    """The log of a migrated database, and the web's way of reading it."""
    async with (
        await psycopg.AsyncConnection.connect(url, autocommit=True) as sql,
        session(url, name="test bridge") as bridge,
        open_pool(DatabaseConfig(url), name="test web") as pool,
    ):
        yield Log(url, sql, bridge), History(pool)


@contextmanager
def nobody_reads(url: str) -> Iterator[None]:
    """Every read of notifications waits until the end of the block."""
    with psycopg.connect(url) as blocker:
        blocker.execute("LOCK TABLE notifications IN ACCESS EXCLUSIVE MODE")
        yield


async def reads_wait(log: Log) -> bool:
    """Is somebody waiting to read?"""
    row = await (
        await log.sql.execute(
            "SELECT count(*) FROM pg_locks WHERE NOT granted AND database = "
            "(SELECT oid FROM pg_database WHERE datname = current_database())"
        )
    ).fetchone()
    assert row is not None
    return bool(row[0])


def span(messages: list[Message]) -> Range:
    """The mark of a range that was added."""
    return Range(messages[0].start, messages[-1].event.seq)


def events(messages: list[Message]) -> list[Event]:
    return [message.event for message in messages]
