"""The leader lock: one holds it, nobody waits in Postgres for it, and who hangs with it is ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import LiteralString

import psycopg
import pytest

from db.connect import Connection, session
from db.leadership import end_stuck_leader, stop_leading, try_lead
from tests.db.databases import Databases
from tests.servers import embedded_postgres
from tests.waiting import running, until


@pytest.fixture
async def leader(database: str) -> AsyncIterator[Connection]:
    """A session that holds the lock."""
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as connection:
        assert await try_lead(connection)
        yield connection


@pytest.fixture
async def follower(database: str) -> AsyncIterator[Connection]:
    async with session(database, name="rowcast-claim") as connection:
        yield connection


async def test_one_at_a_time_and_asking_does_not_wait(leader: Connection, follower: Connection) -> None:
    async with asyncio.timeout(5):
        assert not await try_lead(follower)
    await stop_leading(leader)
    assert await try_lead(follower)


async def test_a_leader_that_hangs_in_a_statement_is_ended_and_one_at_rest_is_not(
    leader: Connection, follower: Connection
) -> None:
    """Rule 2.2: busy or blocked with the same query for that long."""

    async def hang() -> None:
        with pytest.raises(psycopg.Error):
            await leader.execute("SELECT pg_sleep(600)")

    pid = leader.info.backend_pid
    assert await end_stuck_leader(follower, patience=0.0, idle=100.0) == []
    async with running(hang()) as [hanging]:
        assert await end_stuck_leader(follower, patience=100.0, idle=100.0) == []

        async def ended() -> bool:
            return await end_stuck_leader(follower, patience=0.05, idle=100.0) == [pid]

        await until(ended)
        await hanging
    await until(lambda: try_lead(follower))


async def test_a_leader_that_waits_for_a_synchronous_standby_is_left_alone() -> None:
    """Rule 2.2: that is not its fault, and the next leader would wait as long. On a server of its own, whose standby never comes."""
    with embedded_postgres() as server, Databases(server.url).migrated() as address:
        async with (
            await psycopg.AsyncConnection.connect(server.url, autocommit=True) as admin,
            await psycopg.AsyncConnection.connect(address, autocommit=True) as leader,
            session(address, name="rowcast-claim") as follower,
        ):
            assert await try_lead(leader)
            await _wants_a_standby(admin, "nobody", leader)
            released = asyncio.Event()
            async with running(_insert_until(released, leader)) as [inserting]:
                try:
                    await until(lambda: _waits_for_a_standby(admin, leader))
                    assert await end_stuck_leader(follower, patience=0.0, idle=100.0) == []
                    assert await _waits_for_a_standby(admin, leader)
                finally:
                    released.set()
                    await _wants_a_standby(admin, "", admin)  # or the server would not stop
                await inserting


async def _insert_until(released: asyncio.Event, leader: Connection) -> None:
    """Commit again and again: the first commits may be too early to wait for a standby."""
    with suppress(psycopg.OperationalError):
        while not released.is_set():
            await leader.execute("INSERT INTO notifications (message) VALUES ('hello')")


async def _wants_a_standby(admin: Connection, name: LiteralString, session: Connection) -> None:
    """Until that session knows."""
    await admin.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{name}'")
    await admin.execute("SELECT pg_reload_conf()")

    async def known() -> bool:
        return await (await session.execute("SHOW synchronous_standby_names")).fetchone() == (name,)

    await until(known)


async def _waits_for_a_standby(admin: Connection, leader: Connection) -> bool:
    row = await admin.execute("SELECT wait_event FROM pg_stat_activity WHERE pid = %s", (leader.info.backend_pid,))
    return await row.fetchone() == ("SyncRep",)
