"""Rows for tests: put in, looked at."""

from __future__ import annotations

from collections.abc import Sequence

from db.connect import Connection

EVERYONE = None


async def insert(connection: Connection, *users: object) -> list[int]:
    """One row for each of these users, in this order; their ids."""
    ids = []
    for user in users:
        row = await (
            await connection.execute(
                "INSERT INTO public.notifications (user_id, message) VALUES (%s, 'hello') RETURNING id", (user,)
            )
        ).fetchone()
        assert row is not None
        ids.append(int(row[0]))
    return ids


async def in_order(connection: Connection) -> list[int]:
    """The ids of the rows that were stamped, by seq."""
    rows = await connection.execute("SELECT id FROM public.notifications WHERE seq IS NOT NULL ORDER BY seq")
    return [id_ for (id_,) in await rows.fetchall()]


async def lock(connection: Connection, ids: Sequence[int]) -> None:
    """Lock these rows until the connection's transaction ends, as an UPDATE of them would."""
    await connection.execute("BEGIN")
    await connection.execute("SELECT FROM public.notifications WHERE id = ANY (%s) FOR NO KEY UPDATE", (list(ids),))
