"""A pooler that hands each transaction to another server session loses locks, LISTEN and settings without a word: found out here."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from psycopg import AsyncConnection

from core.errors import DatabaseUnavailableError, DatabaseUnfitError
from db.connect import Connection, driver_errors
from db.queries import query

ROUNDS = 8
PATIENCE = 5


async def require_own_session(conninfo: str) -> None:
    """Raise DatabaseUnfitError if two connections that are both open get the same server session, or one gets several.

    Costs two connections and some round trips: ask only where Postgres and the wire disagree about the process id of a session.
    """
    try:
        async with asyncio.timeout(PATIENCE):
            first, second = await _server_sessions(conninfo)
    except TimeoutError as error:
        raise DatabaseUnavailableError(
            f"The pooler before Postgres gave no second session in {PATIENCE} s: "
            "enlarge its pool, or give Rowcast an address of Postgres itself."
        ) from error
    if first & second or len(first) > 1 or len(second) > 1:
        raise DatabaseUnfitError(
            "Between Rowcast and Postgres stands a pooler in transaction mode, which loses locks and LISTEN: "
            "give Rowcast an address of Postgres itself, or a pool in session mode (PgBouncer: pool_mode=session)."
        )


def require_own_session_now(conninfo: str) -> None:
    """The same for who is not in a coroutine; blocks, in a thread of its own, since this one may have an event loop all the same."""
    with ThreadPoolExecutor(1, "pooler-check") as thread:
        thread.submit(lambda: asyncio.run(require_own_session(conninfo))).result()


async def _server_sessions(conninfo: str) -> tuple[set[int], set[int]]:
    """The server processes that answered each of two connections, asked in turn."""
    first: set[int] = set()
    second: set[int] = set()
    with driver_errors("looking for a pooler"):
        async with await _connect(conninfo) as one, await _connect(conninfo) as other:
            for _ in range(ROUNDS):
                first.add(await _server_process(one))
                second.add(await _server_process(other))
    return first, second


async def _connect(conninfo: str) -> Connection:
    return await AsyncConnection.connect(conninfo, autocommit=True, prepare_threshold=None)


async def _server_process(connection: Connection) -> int:
    row = await (await connection.execute(query("backend_pid"))).fetchone()
    return int(row[0]) if row else 0
