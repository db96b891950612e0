"""The server's queue of notifications, made small, pinned by somebody who does not read, and filled."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import psycopg

# The smallest that Postgres takes (17 and newer can be told): half a megabyte, room for some 18,000 rings.
SMALL = {"max_notify_queue_pages": "64"}


async def usage(address: str) -> float:
    """How full it is, 0 to 1."""
    async with await psycopg.AsyncConnection.connect(address, autocommit=True) as sql:
        row = await (await sql.execute("SELECT pg_notification_queue_usage()")).fetchone()
    assert row is not None
    return float(row[0])


@asynccontextmanager
async def a_stranger_who_does_not_read(address: str) -> AsyncIterator[None]:
    """Somebody's LISTEN, idle in a transaction."""
    async with await psycopg.AsyncConnection.connect(address) as stranger:
        await stranger.execute("LISTEN theirs")
        await stranger.commit()
        await stranger.execute("SELECT 1")
        yield


async def fill(address: str) -> None:
    """Strangers notify each other until Postgres refuses."""
    async with await psycopg.AsyncConnection.connect(address, autocommit=True) as sql:
        with suppress(psycopg.errors.ProgramLimitExceeded):
            for number in range(1000):
                await sql.execute("SELECT pg_notify('theirs', %s)", (f"{number:07000}",))
            raise AssertionError("the queue was never full")
