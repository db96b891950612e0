"""What a stream missed, straight from the log, page by page; each page with last_seq of its own snapshot.

A read is believed only if its snapshot has got as far as the caller already knows the log to be (`at_least`): a standby or a
primary that lost its tail must not pass for the truth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from psycopg_pool import AsyncConnectionPool

from core.errors import StaleReadError
from core.events import NOTIFICATION, Event
from db.connect import Connection, borrow
from db.queries import query

Pool: TypeAlias = AsyncConnectionPool[Connection]

PAGE_ROWS = 500
PAGE_BYTES = 1 << 20
NOTHING_ABOVE = 2**63 - 1  # a position above all others: a page above it tells the end of the log and nothing else


@dataclass(frozen=True, slots=True)
class Page:
    """Rows of the log in order; the log's end and its pruned start as the same snapshot saw them; and whether more rows follow.

    `rejoin`: the position asked for is none of this log's: it goes on there (the start of a term). None for every other.
    """

    last_seq: int
    pruned_seq: int
    rejoin: int | None
    events: list[Event]
    more: bool


class History:
    """Reads of the log for the web, over its pool. Every method raises DatabaseUnavailableError, StaleReadError included."""

    def __init__(self, pool: Pool, urgent: Pool | None = None) -> None:
        """`urgent` is for re-reads alone, so that they never wait behind a storm of starting streams."""
        self._pool = pool
        self._urgent = urgent or pool

    async def replay(
        self,
        user_id: str,
        *,
        after: int,
        upto: int | None,
        unread: bool = False,
        at_least: int = 0,
        one: bool = False,
        bare: bool = False,
    ) -> Page:
        """One page of what `user_id` may see above `after` (seq), up to `upto` (None: the end of the log as this page sees it).

        `one`: the next row alone. `bare`: only where the rows are; bodies are empty. Raises UnreadableRowError if Postgres can't write
        one of them out.
        """
        parameters = {"user_id": user_id, "after": after, "upto": upto, "unread": unread, "bare": bare, **_LIMITS}
        if one:
            parameters["page"] = 1
        rows = await self._read(self._pool, "replay", parameters, at_least)
        return _page(rows)

    async def reread(self, user_ids: list[str], *, after: int, upto: int | None, at_least: int = 0) -> Page:
        """One page of what any of `user_ids`, or everyone, was sent above `after`; each event names its user."""
        parameters = {"user_ids": _array(user_ids), "after": after, "upto": upto, **_LIMITS}
        rows = await self._read(self._urgent, "reread", parameters, at_least)
        return _page(rows)

    async def oldest(self) -> int | None:
        """The lowest seq kept, None if there is none."""
        async with borrow(self._pool, doing="looking for the oldest row") as session:
            row = await (await session.execute(query("oldest"))).fetchone()
        return None if row is None else int(row[0])

    async def _read(self, pool: Pool, name: str, parameters: dict[str, Any], at_least: int) -> list[tuple[Any, ...]]:
        async with borrow(pool, doing=f"reading history ({name})") as session:
            rows = await (await session.execute(query(name), parameters, prepare=False)).fetchall()
            if not rows or rows[0][0] < at_least:
                await session.close()  # the next try must reach another server
                raise StaleReadError
        return rows


def _page(rows: list[tuple[Any, ...]]) -> Page:
    last_seq, pruned_seq, rejoin, more, *_ = rows[0]
    events = [Event(row[4], NOTIFICATION, row[5], row[6]) for row in rows if row[4] is not None]
    return Page(last_seq, pruned_seq, rejoin, events, bool(more))


_LIMITS = {"page": PAGE_ROWS, "budget": PAGE_BYTES}


def _array(items: list[str]) -> str:
    """A Postgres array literal of those texts, whatever the element type (Postgres manual, 8.15.6)."""
    quoted = ('"' + item.replace("\\", "\\\\").replace('"', '\\"') + '"' for item in items)
    return "{" + ",".join(quoted) + "}"
