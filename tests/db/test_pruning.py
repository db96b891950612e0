"""Letting go of old rows: which go, that it is said before they do, and that nobody waits for it nor it for anybody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import psycopg
import pytest
from psycopg import AsyncConnection

from core.errors import DatabaseUnavailableError
from core.user_ids import UserIdType
from db import pruning
from db.connect import Connection, session
from db.outbox import NOTHING_HELD, SOURCES, claim
from db.pruning import Rules, forget_viewed, prune
from tests.db.databases import Databases
from tests.db.plans import Node, on, plan_of
from tests.db.rows import EVERYONE, insert, lock
from tests.waiting import running, until

DAY = 86400
OLD, YOUNG = "now() - interval '40 days'", "now() - interval '20 days'"
RULES = Rules(30 * DAY)
KEEP_UNREAD = Rules(30 * DAY, keep_unread=True)


@pytest.fixture
async def pruner(database: str) -> AsyncIterator[Connection]:
    async with session(database, name="rowcast-prune") as connection:
        yield connection


async def add(connection: Connection, *ages: str, user: object = 1, viewed: bool = False) -> None:
    """A stamped row of each of these ages (SQL), in this order."""
    for age in ages:
        await connection.execute(
            f"INSERT INTO notifications (user_id, message, is_viewed, created_at) VALUES (%s, 'x', %s, {age})".encode(),
            (user, viewed),
        )
    await stamp(connection)


async def stamp(connection: Connection) -> None:
    await claim(connection, SOURCES[0], NOTHING_HELD, batch=100_000)


async def left(connection: Connection) -> list[int]:
    """The seqs that are still there."""
    rows = await connection.execute("SELECT seq FROM notifications WHERE seq IS NOT NULL ORDER BY seq")
    return [seq for (seq,) in await rows.fetchall()]


async def gone_to(connection: Connection) -> int:
    row = await (await connection.execute("SELECT pruned_seq FROM rowcast.state")).fetchone()
    assert row is not None
    return int(row[0])


async def run(pruner: Connection, rules: Rules = RULES, *, dry_run: bool = False) -> int:
    """One whole walk; how many rows went."""
    return sum([batch.rows async for batch in prune(pruner, rules, dry_run=dry_run)])


async def test_what_is_older_goes_and_the_position_says_so(connection: Connection, pruner: Connection) -> None:
    await add(connection, OLD, OLD, YOUNG, "now()")
    assert await run(pruner) == 2
    assert (await left(connection), await gone_to(connection)) == ([3, 4], 2)
    assert await run(pruner) == 0
    assert (await left(connection), await gone_to(connection)) == ([3, 4], 2)


async def test_a_dry_run_tells_the_same_and_changes_nothing(connection: Connection, pruner: Connection) -> None:
    await add(connection, *[OLD] * 7, YOUNG)
    batches = [batch async for batch in prune(pruner, RULES, dry_run=True)]
    assert (sum(batch.rows for batch in batches), batches[-1].pruned_seq) == (7, 7)
    assert (await left(connection), await gone_to(connection)) == ([*range(1, 9)], 0)


async def test_nothing_goes_out_of_the_middle(connection: Connection, pruner: Connection) -> None:
    """A row that its writer dated back stands in the log where it was committed, and waits for what is before it."""
    await add(connection, OLD, YOUNG, "'1970-01-01'", "'-infinity'")
    assert await run(pruner) == 1
    assert (await left(connection), await gone_to(connection)) == ([2, 3, 4], 1)
    await connection.execute(f"UPDATE notifications SET created_at = {OLD} WHERE seq = 2".encode())
    assert await run(pruner) == 3


async def test_a_date_to_come_keeps_its_row_and_no_other(connection: Connection, pruner: Connection) -> None:
    await add(connection, "'infinity'", OLD, "now() + interval '1 year'", OLD, YOUNG)
    assert await run(pruner) == 2
    assert (await left(connection), await gone_to(connection)) == ([1, 3, 5], 4)


async def test_what_is_relayed_while_it_walks_stays(
    connection: Connection, pruner: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An import of old rows may not be delivered yet."""
    monkeypatch.setattr(pruning, "BATCH_ROWS", 2)
    await add(connection, OLD, OLD, OLD)
    async with aclosing(prune(pruner, RULES)) as batches:
        went = [await anext(batches)]
        await add(connection, OLD, OLD)
        went += [batch async for batch in batches]
    assert sum(batch.rows for batch in went) == 3
    assert (await left(connection), await gone_to(connection)) == ([4, 5], 3)
    assert await run(pruner) == 2


async def test_what_was_not_relayed_never_goes(connection: Connection, pruner: Connection) -> None:
    await connection.execute(
        f"INSERT INTO notifications (user_id, message, created_at) SELECT 1, 'x', {OLD} FROM generate_series(1, 20)".encode()
    )
    assert await run(pruner) == 0
    await stamp(connection)
    assert await run(pruner) == 20


async def test_what_is_above_the_logs_end_never_goes(connection: Connection, pruner: Connection) -> None:
    """As after a restore of rows without their state: nothing may be said to be gone that was never in the log."""
    await add(connection, OLD)
    await connection.execute(
        f"INSERT INTO notifications (user_id, message, created_at, seq) VALUES (1, 'x', {OLD}, 9)".encode()
    )
    assert await run(pruner) == 1
    assert (await left(connection), await gone_to(connection)) == ([9], 1)


async def test_unread_rows_stay_until_they_are_viewed(connection: Connection, pruner: Connection) -> None:
    await add(connection, OLD, viewed=True)
    await add(connection, OLD)
    await add(connection, OLD, viewed=True)
    await add(connection, YOUNG, viewed=True)
    assert await run(pruner, KEEP_UNREAD) == 2
    assert (await left(connection), await gone_to(connection)) == ([2, 4], 3)
    await connection.execute("UPDATE notifications SET is_viewed = true")
    assert await run(pruner, KEEP_UNREAD) == 1
    assert (await left(connection), await gone_to(connection)) == ([4], 3)


async def test_a_row_for_everyone_goes_by_its_age_alone(connection: Connection, pruner: Connection) -> None:
    """Of nobody can it be said that everyone has viewed it."""
    await add(connection, OLD, YOUNG, user=EVERYONE)
    await connection.execute("INSERT INTO rowcast.viewed VALUES (7, 1), (7, 2)")
    assert await run(pruner, KEEP_UNREAD) == 1
    assert await left(connection) == [2]
    assert [count async for count in forget_viewed(pruner)] == [1]
    assert await (await connection.execute("SELECT notification_id FROM rowcast.viewed")).fetchall() == [(2,)]


@pytest.mark.parametrize("limits", [{"BATCH_ROWS": 3}, {"BATCH_BYTES": 500}])
async def test_it_goes_in_batches_by_rows_and_by_bytes(
    connection: Connection, pruner: Connection, monkeypatch: pytest.MonkeyPatch, limits: dict[str, int]
) -> None:
    """Each says first how far it goes, and no farther."""
    for name, value in limits.items():
        monkeypatch.setattr(pruning, name, value)
    await add(connection, *[OLD] * 20, YOUNG)
    positions = []
    async for batch in prune(pruner, RULES):
        assert batch.rows <= 3
        assert await gone_to(connection) == batch.pruned_seq == 21 - len(await left(connection))
        positions.append(batch.pruned_seq)
    assert positions == sorted(positions)
    assert len(positions) >= 7
    assert await left(connection) == [21]


async def test_a_row_larger_than_a_batch_goes_too(connection: Connection, pruner: Connection) -> None:
    await connection.execute(
        f"INSERT INTO notifications (user_id, message, created_at) SELECT 1, repeat('x', 6000000), {OLD} FROM generate_series(1, 3)".encode()
    )
    await stamp(connection)
    assert [batch.rows async for batch in prune(pruner, RULES)] == [1, 1, 1]


async def test_the_position_is_there_before_the_first_row_is_missing(
    connection: Connection, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ended between the two, or between batches: nobody is ever left below a row that went unsaid."""
    monkeypatch.setattr(pruning, "BATCH_ROWS", 4)
    await add(connection, *[OLD] * 10, YOUNG)
    await connection.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not yet'; END $$;"
        "CREATE TRIGGER refuse BEFORE DELETE ON notifications EXECUTE FUNCTION refuse()"
    )
    for _ in range(2):
        async with session(database, name="rowcast-prune") as pruner:
            with pytest.raises(DatabaseUnavailableError, match="not yet"):
                await run(pruner)
        assert (await gone_to(connection), await left(connection)) == (4, [*range(1, 12)])
    await connection.execute("DROP TRIGGER refuse ON notifications")
    async with session(database, name="rowcast-prune") as pruner, aclosing(prune(pruner, RULES)) as batches:
        await anext(batches)
    assert (await gone_to(connection), await left(connection)) == (4, [*range(5, 12)])
    async with session(database, name="rowcast-prune") as pruner:
        await run(pruner)
    assert (await gone_to(connection), await left(connection)) == (10, [11])


async def test_many_at_once_delete_each_row_once(
    connection: Connection, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "BATCH_ROWS", 10)
    await connection.execute(
        f"INSERT INTO notifications (user_id, message, created_at) SELECT 1, 'x', {OLD} FROM generate_series(1, 1000)".encode()
    )
    await add(connection, YOUNG)

    async def one() -> int:
        async with session(database, name="rowcast-prune") as pruner:
            return await run(pruner)

    assert sum(await asyncio.gather(*[one() for _ in range(4)])) == 1000
    assert (await left(connection), await gone_to(connection)) == ([1001], 1000)


async def test_a_locked_row_is_left_for_the_next_time(connection: Connection, pruner: Connection) -> None:
    """Whoever holds it, for whatever: neither waits for the other."""
    await add(connection, OLD, OLD, OLD)
    await lock(connection, [2])
    async with asyncio.timeout(0.9):
        assert await run(pruner) == 2
    await connection.execute("COMMIT")
    assert (await left(connection), await gone_to(connection)) == ([2], 3)
    assert await run(pruner) == 1


async def test_what_becomes_unread_in_between_stays(connection: Connection, pruner: Connection) -> None:
    """The deletion looks again."""
    await add(connection, OLD, OLD, viewed=True)
    await connection.execute(
        "CREATE FUNCTION unview() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE public.notifications SET is_viewed = false WHERE seq = 1; "
        "RETURN NULL; END $$; CREATE TRIGGER unview AFTER UPDATE ON rowcast.state EXECUTE FUNCTION unview()"
    )
    assert await run(pruner, KEEP_UNREAD) == 1
    assert await left(connection) == [1]


async def test_a_claim_does_not_wait_for_a_deletion(connection: Connection, pruner: Connection, database: str) -> None:
    """The log's state is locked for the moment in which the position moves, not while rows are deleted."""
    await add(connection, OLD)
    await connection.execute(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql SET lock_timeout = 0 AS $$ "
        "BEGIN PERFORM pg_advisory_xact_lock(77); RETURN OLD; END $$;"
        "CREATE TRIGGER slow BEFORE DELETE ON notifications FOR EACH ROW EXECUTE FUNCTION slow()"
    )
    async with await AsyncConnection.connect(database, autocommit=True) as blocker:
        await blocker.execute("SELECT pg_advisory_lock(77)")
        async with running(run(pruner)) as [pruned]:
            await until(lambda: _waits(blocker))
            async with asyncio.timeout(2):
                await insert(connection, 1)
                await stamp(connection)
            assert not pruned.done()
            await blocker.execute("SELECT pg_advisory_unlock(77)")
            assert await pruned == 1
    assert await left(connection) == [2]


async def _waits(connection: Connection) -> bool:
    waiting = "SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = 77 AND NOT granted"
    return bool(await (await connection.execute(waiting)).fetchall())


async def test_a_row_that_the_databases_own_rules_keep_ends_it_with_their_reason(
    connection: Connection, pruner: Connection
) -> None:
    await add(connection, OLD)
    await connection.execute("CREATE TABLE orders (told bigint REFERENCES notifications)")
    await connection.execute("INSERT INTO orders VALUES (1)")
    with pytest.raises(DatabaseUnavailableError, match=r'violates foreign key constraint .* on table "orders"'):
        await run(pruner)
    await connection.execute("TRUNCATE orders")
    assert await run(pruner) == 1


async def test_a_lock_of_the_whole_table_is_waited_for_a_second(
    connection: Connection, pruner: Connection, database: str
) -> None:
    await add(connection, OLD)
    async with await AsyncConnection.connect(database) as other:
        await other.execute("LOCK TABLE notifications IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(DatabaseUnavailableError, match="lock timeout"):
            await run(pruner)
    assert await run(pruner) == 1


# --- what was viewed


@pytest.mark.parametrize("user_id_type", UserIdType)
async def test_entries_of_rows_that_are_gone_go_however_those_went(
    databases: Databases, monkeypatch: pytest.MonkeyPatch, user_id_type: UserIdType
) -> None:
    monkeypatch.setattr(pruning, "VIEWED_PAGE", 3)
    users = {
        UserIdType.BIGINT: "n::bigint - 3",
        UserIdType.UUID: "lpad(n::text, 32, '0')::uuid",
        UserIdType.TEXT: "chr(96 + n)",
    }[user_id_type]
    with databases.migrated(user_id_type) as address:
        async with await AsyncConnection.connect(address, autocommit=True) as connection:
            await connection.execute("INSERT INTO notifications (message) VALUES ('a'), ('b'), ('c')")
            await connection.execute(
                f"INSERT INTO rowcast.viewed SELECT {users}, id FROM generate_series(1, 5) AS n, notifications".encode()
            )
            await connection.execute("DELETE FROM notifications WHERE message <> 'b'")
            async with session(address, name="rowcast-prune") as pruner:
                assert sum([count async for count in forget_viewed(pruner)]) == 10
                assert sum([count async for count in forget_viewed(pruner)]) == 0
            rows = await connection.execute("SELECT count(*), min(notification_id) FROM rowcast.viewed")
            assert await rows.fetchone() == (5, 2)


async def test_no_entries_no_work(pruner: Connection) -> None:
    assert [count async for count in forget_viewed(pruner)] == []


# --- rowcast.forget, TRUNCATE, DELETE


@pytest.mark.parametrize(
    ("upto", "returned", "position"), [(2, 2, 2), (99, 5, 5), (-1, 1, 1), (0, 1, 1), (None, None, 1)]
)
async def test_forget_moves_the_position_up_and_never_beyond_the_end(
    connection: Connection, upto: int | None, returned: int | None, position: int
) -> None:
    await add(connection, *["now()"] * 5)
    await connection.execute("UPDATE rowcast.state SET pruned_seq = 1")
    row = await (await connection.execute("SELECT rowcast.forget(%s::bigint)", (upto,))).fetchone()
    assert row == (returned,)
    assert await gone_to(connection) == position


@pytest.mark.parametrize("role", ["origin", "replica"])
async def test_truncate_is_told_as_pruning_is(connection: Connection, role: str) -> None:
    await add(connection, "now()", "now()")
    await connection.execute(f"SET session_replication_role = {role}".encode())
    await connection.execute("BEGIN; TRUNCATE notifications; ROLLBACK")
    assert await gone_to(connection) == 0
    await connection.execute("TRUNCATE notifications")
    assert await gone_to(connection) == 2


async def test_who_may_truncate_needs_no_right_to_our_tables(
    connection: Connection, databases: Databases, database: str
) -> None:
    await add(connection, "now()")
    with databases.login() as name:
        await connection.execute(f'GRANT TRUNCATE ON notifications TO "{name}"'.encode())
        address = psycopg.conninfo.make_conninfo(database, user=name, password="test")
        async with await AsyncConnection.connect(address, autocommit=True) as stranger:
            await stranger.execute("TRUNCATE notifications")
        await connection.execute(f'REVOKE TRUNCATE ON notifications FROM "{name}"'.encode())
    assert await gone_to(connection) == 1


async def test_a_deleted_row_was_withdrawn_and_is_no_end_of_history(connection: Connection) -> None:
    await add(connection, "now()", "now()")
    await connection.execute("DELETE FROM notifications")
    assert await gone_to(connection) == 0


# --- plans


@pytest.mark.parametrize("generic", [False, True], ids=["custom", "generic"])
@pytest.mark.parametrize("analyzed", [True, pytest.param(False, marks=pytest.mark.slow)])
async def test_with_100_000_rows_no_statement_walks_through_them(
    database: str, connection: Connection, generic: bool, analyzed: bool
) -> None:
    await connection.execute("ALTER TABLE notifications SET (autovacuum_enabled = off)")
    await connection.execute(
        f"INSERT INTO notifications (user_id, message, created_at, seq) SELECT i % 1000, 'x', {OLD}, i FROM generate_series(1, 100000) i".encode()
    )
    await connection.execute("INSERT INTO rowcast.viewed SELECT i, i FROM generate_series(1, 20000) AS i")
    await connection.execute("UPDATE rowcast.state SET last_seq = 100000")
    if analyzed:
        await connection.execute("VACUUM ANALYZE")
    what = {"cutoff": "2100-01-01", "keep_unread": True, "page": 500, "budget": 1 << 20}
    async with session(database, name="rowcast-prune") as pruner:
        nodes = await plan_of(pruner, "prune_old", what | {"after": 50_000, "log_end": 100_000}, generic=generic)
        assert reads(nodes, "notifications") == {"notifications_seq"}
        assert looked_at(nodes, "notifications") <= 500
        what |= {"keep_unread": False, "ids": list(range(50_001, 50_501)), "upto": 60_000}
        nodes = await plan_of(pruner, "prune_delete", what, generic=generic)
        assert reads(nodes, "notifications") == {"notifications_pkey"}
        assert looked_at(nodes, "notifications") <= 1000
        nodes = await plan_of(pruner, "prune_viewed", {"user_id": 5000, "id": 5000, "page": 2000}, generic=False)
        assert reads(nodes, "viewed") == {"viewed_pkey", None}
        assert looked_at(nodes, "viewed") <= 4000
        assert looked_at(nodes, "notifications") <= 2000


def reads(nodes: list[Node], table: str) -> set[str | None]:
    """By which indexes a table is read."""
    return {node.index for node in on(nodes, table) if node.kind != "ModifyTable"}


def looked_at(nodes: list[Node], table: str) -> int:
    return sum(node.rows for node in on(nodes, table) if node.kind != "ModifyTable")
