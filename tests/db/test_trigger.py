"""The doorbell rings while the bridge waits, in the modes that the documentation names, and never keeps a writer from inserting."""

from __future__ import annotations

from collections.abc import AsyncIterator

import psycopg
import pytest
from psycopg import AsyncConnection

from core.user_ids import UserIdType
from db import outbox
from db.connect import Connection, session
from db.outbox import BUSY, NOTHING_HELD, SOURCES, WAITING, claim, renew_doorbell, set_doorbell
from tests.db.databases import Databases
from tests.db.notify_queue import SMALL, a_stranger_who_does_not_read, fill
from tests.db.rows import insert
from tests.servers import embedded_postgres


@pytest.fixture
async def listener(database: str) -> AsyncIterator[Connection]:
    async with session(database, name="bridge") as connection:
        await connection.execute("LISTEN rowcast")
        yield connection


async def rings(listener: Connection) -> int:
    """How many notifications have come: a round trip brings all that were sent before it."""
    await listener.execute("NOTIFY rowcast, 'end'")
    count = 0
    async for notice in listener.notifies(timeout=5):
        if notice.payload == "end":
            return count
        count += 1
    raise AssertionError("the listener is deaf")


@pytest.mark.parametrize(
    ("mode", "mark", "expected"),
    [
        (None, WAITING, 1),
        (None, BUSY, 0),
        ("auto", WAITING, 1),
        ("auto", BUSY, 0),
        ("always", BUSY, 1),
        ("always", WAITING, 1),
        ("off", WAITING, 0),
        ("nonsense", WAITING, 1),
        ("nonsense", BUSY, 0),
    ],
)
async def test_modes(connection: Connection, listener: Connection, mode: str | None, mark: int, expected: int) -> None:
    await set_doorbell(listener, mark)
    if mode:
        await connection.execute("SELECT set_config('rowcast.notify', %s, false)", (mode,))
    await insert(connection, 1)
    assert await rings(listener) == expected


async def test_nobody_rings_for_long_for_a_bridge_that_is_gone(
    connection: Connection, listener: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A NOTIFY costs a lock of the whole server through the flush: with nobody to wake, for nothing."""
    monkeypatch.setattr(outbox, "RING_FOR", -1)
    await set_doorbell(listener, WAITING)
    await insert(connection, 1)
    assert await rings(listener) == 0
    monkeypatch.setattr(outbox, "RING_FOR", 30)
    await renew_doorbell(listener)
    await insert(connection, 1)
    assert await rings(listener) == 1
    await set_doorbell(listener, BUSY)
    await renew_doorbell(listener)
    await insert(connection, 1)
    assert await rings(listener) == 0


async def test_a_new_database_does_not_ring(connection: Connection, listener: Connection) -> None:
    """Nobody waits yet, so nobody pays."""
    await insert(connection, 1)
    assert await rings(listener) == 0


async def test_many_rows_ring_once(connection: Connection, listener: Connection) -> None:
    await set_doorbell(listener, WAITING)
    await connection.execute("INSERT INTO public.notifications (message) SELECT 'x' FROM generate_series(1, 100)")
    assert await rings(listener) == 1


async def test_a_writer_sees_the_mark_at_once_whatever_its_snapshot(
    connection: Connection, listener: Connection
) -> None:
    await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    await connection.execute("SELECT FROM public.notifications")
    await set_doorbell(listener, WAITING)
    await insert(connection, 1)
    await connection.execute("COMMIT")
    assert await rings(listener) == 1


async def test_a_writers_search_path_and_tables_of_its_own_do_not_matter(
    connection: Connection, listener: Connection
) -> None:
    await set_doorbell(listener, WAITING)
    await connection.execute("CREATE TEMPORARY TABLE doorbell (last_value integer)")
    await connection.execute("SELECT set_config('search_path', 'pg_temp', false)")
    await insert(connection, 1)
    assert await rings(listener) == 1


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO public.notifications (message) SELECT 'x'",
        "INSERT INTO public.notifications (id, message) VALUES (7, 'x') ON CONFLICT (id) DO UPDATE SET message = 'y'",
        "MERGE INTO public.notifications USING (VALUES (1)) AS v (u) ON false WHEN NOT MATCHED THEN INSERT (message) VALUES ('x')",
        "WITH w AS (INSERT INTO public.notifications (message) VALUES ('x') RETURNING id) SELECT * FROM w",
        "DO $$ BEGIN INSERT INTO public.notifications (message) VALUES ('x'); END $$",
    ],
)
async def test_every_way_of_inserting_rings(connection: Connection, listener: Connection, statement: str) -> None:
    await set_doorbell(listener, WAITING)
    await connection.execute(statement.encode())
    assert await rings(listener) == 1


async def test_copy_rings(connection: Connection, listener: Connection) -> None:
    await set_doorbell(listener, WAITING)
    async with connection.cursor().copy("COPY public.notifications (message) FROM STDIN") as copy:
        await copy.write_row(("x",))
    assert await rings(listener) == 1


async def test_replications_apply_rings(connection: Connection, listener: Connection) -> None:
    await set_doorbell(listener, WAITING)
    await connection.execute("SET session_replication_role = replica")
    await insert(connection, 1)
    assert await rings(listener) == 1


@pytest.mark.slow
async def test_two_phase_commit_needs_mode_off() -> None:
    """On a server of its own, which has room for prepared transactions."""
    with (
        embedded_postgres(settings={"max_prepared_transactions": "2"}) as server,
        Databases(server.url).migrated() as address,
    ):
        async with await AsyncConnection.connect(address, autocommit=True) as writer:
            await set_doorbell(writer, WAITING)
            for mode, works in (("off", True), ("auto", False)):
                await writer.execute("SELECT set_config('rowcast.notify', %s, false)", (mode,))
                await writer.execute("BEGIN")
                await insert(writer, 1)
                if works:
                    await writer.execute("PREPARE TRANSACTION 'two'")
                    await writer.execute("COMMIT PREPARED 'two'")
                else:
                    with pytest.raises(psycopg.errors.FeatureNotSupported, match="NOTIFY"):
                        await writer.execute("PREPARE TRANSACTION 'two'")


@pytest.mark.parametrize("mode", ["auto", "always"])
async def test_nobody_rings_into_a_full_queue_so_that_every_insert_commits(mode: str) -> None:
    """It is the whole server's, and one LISTEN of anybody that does not read fills it."""
    with embedded_postgres(settings=SMALL) as server, Databases(server.url).migrated() as address:
        async with await AsyncConnection.connect(address, autocommit=True) as writer:
            await set_doorbell(writer, WAITING)
            await writer.execute("SELECT set_config('rowcast.notify', %s, false)", (mode,))
            async with a_stranger_who_does_not_read(address):
                await fill(address)
                await insert(writer, *range(100))


LARGE = "(SELECT jsonb_agg(sha512(i::text::bytea)::text) FROM generate_series(1, 260000) AS i)"  # 35 MB, that can't be compressed


@pytest.mark.parametrize(
    "column",
    [
        "message = repeat('x', 40000000)",
        pytest.param("key = repeat('x', 40000000)", marks=pytest.mark.slow),
        pytest.param(f"data = {LARGE}", marks=pytest.mark.slow),
        "data = to_jsonb(repeat('x', 34000000))",
    ],
)
@pytest.mark.parametrize("role", ["origin", pytest.param("replica", marks=pytest.mark.slow)])
async def test_a_row_that_could_not_be_read_again_is_refused(connection: Connection, column: str, role: str) -> None:
    """When it is written, by whoever writes it: in the log it would hold up all streams."""
    name, _, value = column.partition(" = ")
    columns = name if name == "message" else f"message, {name}"
    values = value if name == "message" else f"'x', {value}"
    await connection.execute("SELECT set_config('session_replication_role', %s, false)", (role,))
    with pytest.raises(psycopg.errors.ProgramLimitExceeded, match="a notification may have"):
        await connection.execute(f"INSERT INTO public.notifications ({columns}) VALUES ({values})")
    await insert(connection, 1)
    with pytest.raises(psycopg.errors.ProgramLimitExceeded, match="a notification may have"):
        await connection.execute(f"UPDATE public.notifications SET {column}")


async def test_a_user_id_that_no_index_can_hold_is_refused(databases: Databases) -> None:
    """The stamp, which puts the row into the indexes, could never be made: nobody would get anything any more."""
    with databases.migrated(UserIdType.TEXT) as address:
        async with await AsyncConnection.connect(address, autocommit=True) as writer:
            long = "".join(map(str, range(3000)))
            for too_long in (long, long[:1001]):
                with pytest.raises(psycopg.errors.ProgramLimitExceeded, match="a user id of 1000 bytes"):
                    await insert(writer, too_long)
            await insert(writer, long[:1000])
            with pytest.raises(psycopg.errors.ProgramLimitExceeded, match="a user id of 1000 bytes"):
                await writer.execute("UPDATE public.notifications SET user_id = %s", (long,))
            async with session(address, name="bridge") as bridge:
                assert (await claim(bridge, SOURCES[0], NOTHING_HELD, batch=10, log_end=0)).rows == 1


async def test_nobody_calls_the_trigger_function_by_hand(database: str) -> None:
    with psycopg.connect(database) as superuser, pytest.raises(psycopg.errors.FeatureNotSupported):
        superuser.execute("SELECT rowcast.ring()")
