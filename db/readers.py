"""Whose rows a statement of the web may see: said to Postgres with each, so that row-level security is a second wall around them.

The settings are the transaction's own, and go with it: nothing of a reader is left in a pooled session for the next. Setting and statement go out
together, as one implicit transaction in one round trip (a pipeline, up to its Sync).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncCursor, sql

from db.connect import Connection, is_walled
from db.literals import array
from db.queries import query


@dataclass(frozen=True, slots=True)
class Reader:
    """`user` is the one user's id, `users` an array literal of several or `*` for all, as roles.sql has them; empty: not said."""

    user: str = ""
    users: str = ""


EVERYBODY = Reader(users="*")


def one_user(user_id: str | None) -> Reader:
    """That user and no other; None: whoever."""
    # The text '' is no id that Rowcast takes, but a row may have it.
    return EVERYBODY if user_id is None else Reader(user=user_id) if user_id else several([user_id])


def several(user_ids: Iterable[str]) -> Reader:
    """Those users and no others."""
    return Reader(users=array(user_ids))


class Reading:
    """A session whose statements see what a reader may see."""

    def __init__(self, session: Connection, reader: Reader) -> None:
        self._session = session
        self._reader = {"user": reader.user, "users": reader.users}

    async def execute(
        self, statement: sql.Composed, parameters: Mapping[str, Any] | None = None, *, prepare: bool | None = None
    ) -> AsyncCursor[tuple[Any, ...]]:
        """As Connection.execute in autocommit."""
        if not is_walled(self._session):
            return await self._session.execute(statement, parameters, prepare=prepare)
        async with self._session.pipeline():
            await self._session.execute(query("reader"), self._reader, prepare=True)
            return await self._session.execute(statement, parameters, prepare=prepare)
