"""The rows as the HTTP resources see them: list, read, insert, mark viewed, delete.

Rows come as one line of JSON text that Postgres builds (queries/_row.sql): no value of a row passes through the driver's types, so
none can break it. A *viewer* is the user for whom `is_viewed` is told and who may see the row, in the form Postgres prints; None:
no user in particular, who sees every row.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import psycopg
from psycopg_pool import AsyncConnectionPool

from core.errors import DatabaseUnfitError, RowcastError
from db.connect import Connection, borrow, limited
from db.queries import query
from db.readers import EVERYBODY, Reader, Reading, one_user

Pool: TypeAlias = AsyncConnectionPool[Connection]

HIGHEST_ID = 2**63 - 1
# Seconds for one statement, the waits for a free session and for locks of others included.
TIMEOUT = 10
PAGE_BYTES = 4 << 20
VIEWED_BATCH = 5000
# The classes of SQLSTATE that speak of the row: data, constraint, view's check, RAISE in somebody's trigger.
_OF_THE_ROW = ("22", "23", "44", "P0")
# And of one that is given, not of one that is there: limit of a program. Postgres can't write it out.
_OF_A_GIVEN_ROW = (*_OF_THE_ROW, "54")


class RowRefusedError(RowcastError):
    """Postgres refused this row: a constraint or a trigger of this database, or a value that no column can hold."""


class ViewerMissingError(RowcastError):
    """This row is for everyone: say which user has viewed it."""


class NotOwnError(RowcastError):
    """This row is for everyone: no single user may delete it."""


@dataclass(frozen=True, slots=True)
class InboxPage:
    """Rows as JSON texts, newest id first; `seq` is where a stream takes over without gap or double; `next_before` None: the end."""

    items: list[str]
    unread: int
    seq: int
    next_before: int | None


class Inbox:
    """The table as a resource, over the web's pool. Every method raises DatabaseUnavailableError, and UnreadableRowError
    where a row that is there is more than Postgres can write out; those that write, RowRefusedError too.
    """

    def __init__(self, pool: Pool, *, timeout: float = TIMEOUT) -> None:
        self._pool = pool
        self._timeout = timeout

    async def page(self, user_id: str, *, before: int | None, limit: int, unread: bool) -> InboxPage:
        """Up to `limit` rows with an id below `before` that the user's streams have been sent or will not be sent again: seq ≤ `seq`."""
        upto = HIGHEST_ID if before is None else max(before - 1, -HIGHEST_ID)
        parameters = {"viewer": user_id, "upto": upto, "page": limit, "budget": PAGE_BYTES}
        async with self._session("listing notifications", one_user(user_id)) as session:
            # Not prepared: a generic plan knows neither the user's share of the table nor the limit.
            cursor = await session.execute(query("list_unread" if unread else "list"), parameters, prepare=False)
            rows = await cursor.fetchall()
        if not rows:
            raise DatabaseUnfitError("The table rowcast.state is empty. Run `rowcast migrate`.")
        seq, count, more, last_id, _ = rows[-1]
        return InboxPage([row[4] for row in rows if row[3] is not None], count, seq, last_id if more else None)

    async def get(self, row_id: int, *, viewer: str | None = None) -> str | None:
        """The row with that id, None if there is none that the viewer may see."""
        async with self._session("reading a notification", one_user(viewer)) as session:
            return await _text(session, "get", {"id": row_id, "viewer": viewer})

    async def newest_with_key(self, key: str, *, viewer: str | None) -> str | None:
        """The row with the highest id of those with that key that the viewer may see."""
        async with self._session("reading by key", one_user(viewer)) as session:
            return await _text(session, "newest_with_key", {"key": key, "viewer": viewer})

    async def insert(self, rows: str) -> list[tuple[int, str]]:
        """Insert the rows of a JSON array in one transaction; ids and rows in the array's order, which is the order of ids."""
        # What comes back are these rows and no others, whosever they are.
        async with self._session("inserting", EVERYBODY, refusals=_OF_A_GIVEN_ROW) as session:
            cursor = await session.execute(query("insert"), {"rows": rows, "viewer": None})
            inserted = await cursor.fetchall()
        if not inserted:
            raise RowRefusedError("A trigger of this database dropped the row.")
        return [(row[0], row[1]) for row in inserted]

    async def mark(self, row_id: int, *, viewed: bool, viewer: str | None) -> str | None:
        """Set `is_viewed` and return the row, None if there is none; raises ViewerMissingError for a row for everyone without a viewer."""
        parameters = {"id": row_id, "viewer": viewer, "viewed": viewed}
        async with self._session("marking a notification", one_user(viewer)) as session:
            body = await _text(session, "mark_own", parameters)
            if body is not None or await _text(session, "get", parameters) is None:
                return body
            if viewer is None:
                raise ViewerMissingError
            await session.execute(query("mark_everyone_viewed" if viewed else "mark_everyone_unviewed"), parameters)
            return await _text(session, "get", parameters)

    async def mark_up_to(self, user_id: str, seq: int) -> int:
        """Mark all that the user was sent up to `seq` as viewed, batch by batch; how many unread rows are left.

        What was marked when time is over stays so: who asks again goes on from there.
        """
        async with limited("marking all as viewed", self._timeout):
            for name in ("viewed_own", "viewed_everyone"):
                await self._mark_batches(name, user_id, seq)
            async with self._session("counting what is unread", one_user(user_id)) as session:
                row = await (await session.execute(query("unread"), {"viewer": user_id}, prepare=False)).fetchone()
        return int(row[0]) if row else 0

    async def _mark_batches(self, name: str, user_id: str, seq: int) -> None:
        after: int | None = -HIGHEST_ID
        while after is not None:
            parameters = {"viewer": user_id, "after": after, "upto": seq, "batch": VIEWED_BATCH}
            async with self._session("marking all as viewed", one_user(user_id)) as session:
                row = await (await session.execute(query(name), parameters, prepare=False)).fetchone()
            after = row[0] if row else None

    async def delete(self, row_id: int, *, viewer: str | None) -> bool:
        """Delete the viewer's own row; False if there was none that the viewer may see, NotOwnError for a row for everyone.

        Without a viewer: whichever row it is.
        """
        parameters = {"id": row_id, "viewer": viewer}
        async with self._session("deleting a notification", one_user(viewer)) as session:
            if (await session.execute(query("delete"), parameters)).rowcount > 0:
                return True
            if viewer is not None and await _text(session, "get", parameters) is not None:
                raise NotOwnError
            return False

    async def check(self) -> None:
        """Prove that Postgres answers and was migrated; raises DatabaseUnavailableError."""
        async with self._session("checking readiness", Reader()) as session:
            await session.execute(query("state"))

    @asynccontextmanager
    async def _session(
        self, doing: str, reader: Reader, *, refusals: tuple[str, ...] = _OF_THE_ROW
    ) -> AsyncIterator[Reading]:
        # The wait for a free session is part of it: the pool asks each one whether it is alive, and that can take for ever too.
        async with borrow(self._pool, doing=doing, seconds=self._timeout) as session:
            with _refusals(refusals):
                yield Reading(session, reader)


@contextmanager
def _refusals(classes: tuple[str, ...]) -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        if (error.sqlstate or "").startswith(classes):
            raise RowRefusedError(f"Postgres refused the row: {error.diag.message_primary}.") from error
        raise


async def _text(session: Reading, name: str, parameters: dict[str, Any]) -> str | None:
    row = await (await session.execute(query(name), parameters)).fetchone()
    return None if row is None else str(row[0])
