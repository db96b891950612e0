"""The model's claim is claim.sql: both stamp the same rows in the same order, whatever is locked and held back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from itertools import product

import psycopg
import pytest
from psycopg.rows import TupleRow

from db.connect import Connection, session
from db.outbox import NOTHING_HELD, SOURCES
from db.outbox import claim as claim_in_postgres
from tests.db.databases import Databases
from tests.model.claim import EVERYONE, Row, claim

USERS = ("1", "2", EVERYONE)


@pytest.fixture
def database(databases: Databases) -> Iterator[str]:
    with databases.migrated() as url:
        yield url


@pytest.fixture
async def claiming(database: str) -> AsyncIterator[Connection]:
    async with session(database, name="rowcast-claim") as connection:
        yield connection


async def test_both_stamp_the_same(database: str, claiming: Connection) -> None:
    """Every table of three rows, for two users or everyone, with every one and two of them locked, in claims of two until nothing is left."""
    with psycopg.connect(database, autocommit=True) as sql, psycopg.connect(database) as locker:
        for users in product(USERS, repeat=3):
            for locked in ((0,), (1,), (0, 1), (0, 2)):
                await compare(sql, locker, claiming, users, locked)


async def compare(
    sql: psycopg.Connection[TupleRow],
    locker: psycopg.Connection[TupleRow],
    claiming: Connection,
    users: tuple[str | None, ...],
    locked: tuple[int, ...],
) -> None:
    sql.execute("DELETE FROM notifications")
    insert = "INSERT INTO notifications (user_id, message) SELECT u, '' FROM unnest(%s::bigint[]) AS u RETURNING id, user_id::text"
    table = [Row(*row) for row in sql.execute(insert, (list(users),)).fetchall()]
    ids = [table[place].id for place in locked]
    locker.execute("SELECT FROM notifications WHERE id = ANY (%s) FOR UPDATE", (ids,))
    held, left_out, lowest = NOTHING_HELD, frozenset[str](), None
    left = table
    for _ in range(3):
        expected = claim(left, ids, left_out, lowest, batch=2)
        done = await claim_in_postgres(claiming, SOURCES[0], held, batch=2)
        held, left_out, lowest = done.held_back, expected.users, expected.lowest
        stamped = sql.execute(
            "SELECT id FROM notifications WHERE seq IS NOT NULL ORDER BY seq DESC LIMIT %s", (done.rows,)
        )
        assert [row.id for row in expected.rows] == [id_ for (id_,) in stamped.fetchall()][::-1], (users, locked)
        assert (lowest, left_out) == (held.lowest, frozenset(filter(None, held.users.strip("{}").split(","))))
        left = [row for row in left if row not in expected.rows]
    locker.rollback()
