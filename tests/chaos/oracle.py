"""What Postgres itself says, by ways that Rowcast doesn't use: a logical slot for the order of commits, the table for what is there.

The slot is read by polling with the output plugin test_decoding, on a session of its own. A server that was promoted has no slot: a new
one is made there, and rows committed before that have no place in the order.
"""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import suppress
from typing import Any, LiteralString

import psycopg

from tests.chaos.records import Row, content_of

SLOT: LiteralString = "chaos_oracle"
_MAKE: LiteralString = (
    "SELECT pg_create_logical_replication_slot(%(slot)s, 'test_decoding') "
    "WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = %(slot)s)"
)
# A change is said with all its columns; the id and the key come first.
_CHANGES: LiteralString = (
    "SELECT lsn, left(data, 300) FROM pg_logical_slot_peek_changes(%(slot)s, NULL, NULL, 'skip-empty-xacts', '1') "
    "WHERE data LIKE 'COMMIT%%' OR data LIKE 'table public.notifications: INSERT:%%'"
)
# What was read is let go only now: an answer that never came is asked for again.
_SEEN: LiteralString = "SELECT pg_replication_slot_advance(%(slot)s, %(lsn)s::pg_lsn)"
_TABLE: LiteralString = (
    "SELECT id, user_id, key, message, channel_type, data::text, seq, is_viewed FROM notifications ORDER BY id"
)
_KEY = re.compile(r" key\[text\]:'([^']*)'")
EVERY, TRIES = 0.5, 20


class Oracle:
    """Collects the order of commits while it runs; `commits`: key → the number of its transaction in that order."""

    def __init__(self, database_url: str) -> None:
        self._url = database_url
        self._number = 0
        self._began = False
        self.began_anew = False  # was the slot lost, and with it a part of the order?
        self.commits: dict[str, int] = {}

    async def begin(self) -> None:
        """Make the slot: whatever is committed from now on is seen."""
        async with await self._connect() as session:
            await self._make(session)

    async def run(self) -> None:
        """Read on for ever, whatever happens to the server."""
        while True:
            try:
                async with await self._connect() as session:
                    await self._make(session)
                    while True:
                        await self._read_once(session)
                        await asyncio.sleep(EVERY)
            except psycopg.Error:
                await asyncio.sleep(EVERY)

    async def finish(self) -> list[Row]:
        """Read the rest of the order, drop the slot, and read the table."""
        for _ in range(TRIES):
            with suppress(psycopg.OperationalError):  # the session of `run` may not have let go of the slot yet
                return await self._finish()
            await asyncio.sleep(EVERY)
        return await self._finish()

    async def _finish(self) -> list[Row]:
        async with await self._connect() as session:
            await self._make(session)
            await self._read_once(session)
            await session.execute("SELECT pg_drop_replication_slot(%s)", [SLOT])
            return [_row(found) async for found in await session.execute(_TABLE)]

    async def _make(self, session: psycopg.AsyncConnection[Any]) -> None:
        made = await (await session.execute(_MAKE, {"slot": SLOT})).fetchone()
        self.began_anew = self.began_anew or (self._began and made is not None)
        self._began = True

    async def _read_once(self, session: psycopg.AsyncConnection[Any]) -> None:
        lsn = None
        for place, text in await (await session.execute(_CHANGES, {"slot": SLOT})).fetchall():
            if text.startswith("COMMIT"):
                self._number += 1
                lsn = place
            elif found := _KEY.search(text):
                self.commits.setdefault(found[1], self._number)
        if lsn is not None:
            await session.execute(_SEEN, {"slot": SLOT, "lsn": lsn})

    async def _connect(self) -> psycopg.AsyncConnection[Any]:
        return await psycopg.AsyncConnection.connect(
            self._url, autocommit=True, connect_timeout=5, application_name="oracle"
        )


def _row(found: tuple[Any, ...]) -> Row:
    id_, user, key, message, channel, data, seq, viewed = found
    said = None if data is None else json.loads(data)
    return Row(id_, str(key), user, seq, viewed, content_of([id_, user, key, message, channel, said]))
