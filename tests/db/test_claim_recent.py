"""Claims that look only at what is not in an earlier claim's snapshot find what a look at all rows finds, in the same order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from psycopg import AsyncConnection

from db.connect import Connection, session
from db.outbox import EVERYWHERE, NOTHING_HELD, SOURCES, Claim, claim
from tests.db.databases import Databases
from tests.db.rows import EVERYONE, in_order, insert, lock
from tests.servers import embedded_postgres

[NOTIFICATIONS] = SOURCES


class Bridge:
    """Claims in a row, each looking where the one before it said."""

    def __init__(self, session: Connection) -> None:
        self.session = session
        self.look = EVERYWHERE
        self.held_back = NOTHING_HELD

    async def take(self, *, batch: int = 1000) -> Claim:
        """One claim, which must not wait for anybody."""
        async with asyncio.timeout(5):
            got = await claim(self.session, NOTIFICATIONS, self.held_back, batch=batch, look=self.look)
        self.look, self.held_back = got.look, got.held_back
        return got

    async def take_recent(self) -> Claim:
        """One that may not look at all rows."""
        assert not self.look.everywhere
        return await self.take()

    def poll(self) -> None:
        self.held_back = NOTHING_HELD


@pytest.fixture
async def bridge(database: str) -> AsyncIterator[Bridge]:
    """One that has just found nothing."""
    async with session(database, name="bridge") as connection:
        made = Bridge(connection)
        await made.take()
        yield made


async def born(connection: Connection, value: str, user: object = 1) -> int:
    """A row that says so of its birth, in SQL; its id."""
    statement = f"INSERT INTO public.notifications (user_id, message, born) VALUES (%s, 'x', {value}) RETURNING id"
    [(id_,)] = await (await connection.execute(statement.encode(), (user,))).fetchall()
    return int(id_)


async def strays(connection: Connection) -> int:
    [(count,)] = await (await connection.execute("SELECT count(*) FROM rowcast.strays")).fetchall()
    return int(count)


async def test_rows_after_the_last_claim_are_found_oldest_id_first(bridge: Bridge, other: Connection) -> None:
    ids = []
    for _ in range(3):
        ids += await insert(other, 2, EVERYONE, 1)
        assert (await bridge.take_recent()).rows == 3
    assert await in_order(other) == ids


@pytest.mark.parametrize("savepoint", [False, True])
async def test_a_transaction_that_runs_through_many_claims(
    bridge: Bridge, database: str, other: Connection, savepoint: bool
) -> None:
    """Its id is below those of rows that were stamped long ago."""
    async with await AsyncConnection.connect(database, autocommit=True) as late:
        await late.execute("BEGIN")
        early = await insert(late, 1)
        for _ in range(3):
            await insert(other, 2)
            await bridge.take_recent()
        if savepoint:
            await late.execute("SAVEPOINT one")
        early += await insert(late, 1)
        await bridge.take_recent()
        await late.execute("COMMIT")
    assert (await bridge.take_recent()).rows == 2
    assert (await in_order(other))[3:] == early


async def test_what_is_held_back_is_found_when_its_lock_goes(bridge: Bridge, database: str, other: Connection) -> None:
    """However many claims come between, with rows to stamp and without."""
    locked, after = await insert(other, 1, 1)
    await lock(other, [locked])
    async with await AsyncConnection.connect(database, autocommit=True) as third:
        for user in (2, 3):
            await insert(third, user)
            bridge.poll()
            assert (await bridge.take_recent()).rows == 1
            assert (await bridge.take_recent()).rows == 0
    await other.execute("ROLLBACK")
    assert (await bridge.take_recent()).rows == 0, "left out until the next poll"
    bridge.poll()
    assert (await bridge.take_recent()).rows == 2
    assert (await in_order(other))[2:] == [locked, after]


async def test_a_look_at_all_rows_while_one_is_held_back_forgets_nothing(bridge: Bridge, other: Connection) -> None:
    locked = await insert(other, 1)
    await lock(other, locked)
    await bridge.take_recent()
    bridge.look = replace(bridge.look, everywhere=True)
    await bridge.take()
    await other.execute("ROLLBACK")
    bridge.poll()
    assert (await bridge.take_recent()).rows == 1


async def test_more_than_a_batch_is_taken_by_id(bridge: Bridge, database: str, other: Connection) -> None:
    """Also if the transaction that is oldest by its id has the youngest rows."""
    async with await AsyncConnection.connect(database, autocommit=True) as late:
        await late.execute("BEGIN")
        await late.execute("SELECT pg_current_xact_id()")
        ids = await insert(other, 1, 1, 1)
        ids += await insert(late, 1, 1)
        await late.execute("COMMIT")
    rows = []
    while (got := await bridge.take(batch=2)).more:
        rows.append(got.rows)
    assert (rows, await in_order(other)) == ([0, 2, 2], ids)
    assert not bridge.look.everywhere


async def test_a_batch_behind_one_barrier_is_no_busy_loop(bridge: Bridge, other: Connection) -> None:
    ids = await insert(other, EVERYONE, *range(10))
    await lock(other, ids[:1])
    claims = [await bridge.take(batch=3)]
    while claims[-1].more:
        claims.append(await bridge.take(batch=3))
    assert len(claims) <= 3
    assert await in_order(other) == []


WRONG = ["'1'::xid8", "NULL", "'999999999999'::xid8", "pg_snapshot_xmin(pg_current_snapshot())"]


@pytest.mark.parametrize("value", WRONG)
@pytest.mark.parametrize("role", ["origin", "replica"])
async def test_a_row_that_names_another_birth_is_overtaken_by_nobody(
    bridge: Bridge, other: Connection, value: str, role: str
) -> None:
    """As a dump that is loaded would, or logical replication of all columns."""
    await insert(other, 1)
    await bridge.take_recent()
    await other.execute(f"SET session_replication_role = {role}".encode())
    ids = [await born(other, value), *await insert(other, 1)]
    assert (await bridge.take_recent()).rows == 2
    assert (await in_order(other))[1:] == ids
    assert await strays(other) == 0
    await insert(other, 1)
    assert (await bridge.take_recent()).rows == 1


async def test_a_stray_in_a_transaction_that_runs_through_many_claims(
    bridge: Bridge, database: str, other: Connection
) -> None:
    async with await AsyncConnection.connect(database, autocommit=True) as late:
        await late.execute("BEGIN")
        stray = await born(late, "'1'")
        await insert(other, 1)
        await bridge.take_recent()
        await bridge.take_recent()
        await late.execute("COMMIT")
    [after] = await insert(other, 1)
    assert (await bridge.take_recent()).rows == 2
    assert (await in_order(other))[1:] == [stray, after]


async def test_a_stray_that_is_held_back_stays_one(bridge: Bridge, database: str, other: Connection) -> None:
    """Its lock goes, and a later row of its user is not found without it."""
    stray = await born(other, "'1'")
    await lock(other, [stray])
    assert (await bridge.take_recent()).rows == 0
    await other.execute("ROLLBACK")
    [after] = await insert(other, 1)
    bridge.poll()
    assert (await bridge.take_recent()).rows == 2
    assert await in_order(other) == [stray, after]


async def test_strays_of_a_savepoint_that_was_rolled_back(bridge: Bridge, other: Connection) -> None:
    await other.execute("BEGIN; SAVEPOINT one")
    await born(other, "'1'")
    await other.execute("ROLLBACK TO one")
    stray = await born(other, "'1'")
    await other.execute("COMMIT")
    await insert(other, 2)
    await bridge.take_recent()
    assert (await in_order(other))[0] == stray


async def test_many_strays_of_one_transaction_are_one(bridge: Bridge, other: Connection) -> None:
    async with other.cursor().copy("COPY public.notifications (message, born) FROM STDIN") as copy:
        for _ in range(10):
            await copy.write_row(("x", "1"))
    assert await strays(other) == 1
    while (await bridge.take(batch=3)).more:
        pass
    assert (len(await in_order(other)), await strays(other)) == (10, 0)


@pytest.mark.parametrize("role", ["origin", "replica"])
async def test_a_row_is_born_once(bridge: Bridge, other: Connection, role: str) -> None:
    await other.execute(f"SET session_replication_role = {role}".encode())
    ids = await insert(other, 1)
    await other.execute("UPDATE public.notifications SET born = '1', message = 'changed'")
    ids += await insert(other, 1)
    assert (await bridge.take_recent()).rows == 2
    assert await in_order(other) == ids


async def test_what_came_round_the_trigger_is_found_by_a_look_at_all_rows(bridge: Bridge, other: Connection) -> None:
    await other.execute("ALTER TABLE public.notifications DISABLE TRIGGER rowcast_ring")
    await born(other, "'1'")
    assert (await bridge.take_recent()).rows == 0
    bridge.look = replace(bridge.look, everywhere=True)
    assert (await bridge.take()).rows == 1


async def test_rows_from_before_the_column_are_found(bridge: Bridge, other: Connection) -> None:
    """By the first claim of a term, which looks at all rows."""
    await other.execute("ALTER TABLE public.notifications DISABLE TRIGGER rowcast_ring")
    await born(other, "NULL")
    bridge.look = EVERYWHERE
    assert (await bridge.take()).rows == 1


@pytest.mark.slow
async def test_a_prepared_transaction_that_runs_through_many_claims() -> None:
    """Over a restart of the server too; on a server of its own, which has room for one."""
    with (
        embedded_postgres(settings={"max_prepared_transactions": "2"}) as server,
        Databases(server.url).migrated() as address,
    ):
        async with (
            session(address, name="bridge") as connection,
            await AsyncConnection.connect(address, autocommit=True) as other,
        ):
            bridge = Bridge(connection)
            await bridge.take()
            await other.execute("BEGIN")
            early = await insert(other, 1)
            await other.execute("PREPARE TRANSACTION 'two'")
            late = await insert(other, 1)
            await bridge.take_recent()
            await bridge.take_recent()
            await other.execute("COMMIT PREPARED 'two'")
            await bridge.take_recent()
            assert await in_order(other) == late + early
