"""What a stream missed, straight from the log, page by page; each page with last_seq of its own snapshot.

A read is believed only if its snapshot has got as far as the caller already knows the log to be (`at_least`): a standby or a
primary that lost its tail must not pass for the truth.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from psycopg_pool import AsyncConnectionPool

from core.errors import SlowReadError, StaleReadError
from core.events import NOTIFICATION, Event
from db.connect import Connection, borrow
from db.literals import array
from db.queries import query
from db.readers import EVERYBODY, Reader, Reading, one_user, several

Pool: TypeAlias = AsyncConnectionPool[Connection]

PAGE_ROWS = 500
PAGE_BYTES = 1 << 20
# What the pages of one batch may have together.
BATCH_ROWS = 4096
BATCH_BYTES = 4 << 20
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


@dataclass(frozen=True, slots=True)
class Asked:
    """What one stream asks for: see `History.replay`."""

    user_id: str
    after: int
    upto: int | None
    unread: bool
    at_least: int


class History:
    """Reads of the log for the web, over its pool. Every method raises DatabaseUnavailableError, StaleReadError included."""

    def __init__(self, pool: Pool, urgent: Pool | None = None, batches: Pool | None = None) -> None:
        """`urgent` is for re-reads alone, so that they never wait behind a storm of starting streams, and `batches` for that storm, so
        that nobody else does either.
        """
        self._pool = pool
        self._urgent = urgent or pool
        self._batches = batches or pool

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
        rows = await self._read(self._pool, "replay", parameters, at_least, one_user(user_id))
        return _page(rows)

    async def replay_many(self, asked: Sequence[Asked], *, limit: float) -> list[Page | StaleReadError]:
        """A page, or why it is not to be believed, for each, all from one snapshot: smaller pages, the more are asked for.

        Raises SlowReadError if Postgres takes longer than `limit` seconds, and UnreadableRowError if it can't write out some row of
        theirs, whichever.
        """
        alone = len(asked) == 1
        name, parameters = ("replay", _one(asked[0])) if alone else ("replay_many", _many(asked))
        async with borrow(self._batches, doing=f"reading history ({name})") as session:
            rows = await _rows(session, several({one.user_id for one in asked}), name, parameters, limit)
            pages = _pages(rows, len(asked)) if not alone else [_page(rows) if rows else None]
            answers = [_believed(page, one.at_least) for page, one in zip(pages, asked, strict=True)]
            if any(isinstance(answer, StaleReadError) for answer in answers):
                await session.close()  # the next try must reach another server
        return answers

    async def reread(
        self, user_ids: list[str], *, after: int, upto: int | None, at_least: int = 0, limit: float | None = None
    ) -> Page:
        """One page of what any of `user_ids`, or everyone, was sent above `after`; each event names its user.

        Raises SlowReadError if Postgres takes longer than `limit` seconds, the wait for a session apart, and UnreadableRowError as `replay`.
        """
        parameters = {"user_ids": array(user_ids), "after": after, "upto": upto, **_LIMITS}
        rows = await self._read(self._urgent, "reread", parameters, at_least, several(user_ids), limit=limit)
        return _page(rows)

    async def below_newest(self, user_id: str, keep: int, *, after: int, upto: int, unread: bool = False) -> int | None:
        """The seq below the newest `keep` rows of what `replay` would read; None if that is no more than these."""
        parameters = {"user_id": user_id, "after": after, "upto": upto, "unread": unread, "keep": keep}
        async with borrow(self._pool, doing="looking where a long backlog is to be cut") as session:
            reading = Reading(session, one_user(user_id))
            rows = await (await reading.execute(query("below_newest"), parameters, prepare=False)).fetchall()
        return rows[0][0] - 1 if len(rows) > 1 else None

    async def oldest(self) -> int | None:
        """The lowest seq kept, None if there is none."""
        async with borrow(self._pool, doing="looking for the oldest row") as session:
            row = await (await Reading(session, EVERYBODY).execute(query("oldest"))).fetchone()
        return None if row is None else int(row[0])

    async def _read(
        self,
        pool: Pool,
        name: str,
        parameters: dict[str, Any],
        at_least: int,
        reader: Reader,
        *,
        limit: float | None = None,
    ) -> list[tuple[Any, ...]]:
        async with borrow(pool, doing=f"reading history ({name})") as session:
            rows = await _rows(session, reader, name, parameters, limit)
            if not rows or rows[0][0] < at_least:
                await session.close()  # the next try must reach another server
                raise StaleReadError
        return rows


async def _rows(
    session: Connection, reader: Reader, name: str, parameters: dict[str, Any], limit: float | None
) -> list[tuple[Any, ...]]:
    """Raises SlowReadError if Postgres takes longer than `limit` seconds; the session is gone then."""
    try:
        async with asyncio.timeout(limit):
            return await (await Reading(session, reader).execute(query(name), parameters, prepare=False)).fetchall()
    except TimeoutError as error:
        raise SlowReadError from error


def _page(rows: list[tuple[Any, ...]]) -> Page:
    last_seq, pruned_seq, rejoin, more, *_ = rows[0]
    events = [Event(row[4], NOTIFICATION, row[5], row[6]) for row in rows if row[4] is not None]
    return Page(last_seq, pruned_seq, rejoin, events, bool(more))


def _pages(rows: list[tuple[Any, ...]], count: int) -> list[Page | None]:
    """Those of replay_many.sql: a row of every event stands in as many pages as have its seq."""
    events = {row[6]: Event(row[6], NOTIFICATION, row[7], row[8]) for row in rows if row[0] is None}
    pages: list[Page | None] = [None] * count
    for number, last_seq, pruned_seq, rejoin, more, seqs, *_ in rows:
        if number is not None:
            pages[number - 1] = Page(last_seq, pruned_seq, rejoin, [events[seq] for seq in seqs or ()], more)
    return pages


def _believed(page: Page | None, at_least: int) -> Page | StaleReadError:
    return StaleReadError() if page is None or page.last_seq < at_least else page


_LIMITS = {"page": PAGE_ROWS, "budget": PAGE_BYTES}


def _one(asked: Asked) -> dict[str, Any]:
    unread = asked.unread
    return {
        "user_id": asked.user_id,
        "after": asked.after,
        "upto": asked.upto,
        "unread": unread,
        "bare": False,
        **_LIMITS,
    }


def _many(asked: Sequence[Asked]) -> dict[str, Any]:
    return {
        "user_ids": array([one.user_id for one in asked]),
        "afters": [one.after for one in asked],
        "uptos": [one.upto for one in asked],
        "unreads": [one.unread for one in asked],
        "page": max(1, min(_LIMITS["page"], BATCH_ROWS // len(asked))),
        "budget": _LIMITS["budget"],
        "total": BATCH_BYTES,
    }
