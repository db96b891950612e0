"""The rows as a resource: what the HTTP tests can't see of locks, races and plans."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager

import psycopg
import pytest

from core.errors import DatabaseUnavailableError, SlowDatabaseError
from db.connect import Connection, DatabaseConfig, borrow, open_pool, session
from db.inbox import HIGHEST_ID, TIMEOUT, Inbox, RowRefusedError
from db.outbox import NOTHING_HELD, SOURCES, claim
from db.readers import one_user
from tests.db.databases import Databases
from tests.db.plans import on, plan_of, reading

ROWS = 100_000


@asynccontextmanager
async def opened(address: str, *, timeout: float = TIMEOUT) -> AsyncIterator[Inbox]:
    async with open_pool(DatabaseConfig(address), name="web", statement_timeout=timeout + 1) as pool:
        yield Inbox(pool, timeout=timeout)


@pytest.fixture
async def inbox(database: str) -> AsyncIterator[Inbox]:
    async with opened(database) as inbox:
        yield inbox


async def relay(address: str) -> None:
    async with session(address, name="bridge") as bridge:
        await claim(bridge, SOURCES[0], NOTHING_HELD, batch=10_000)


def rows(*users: int | None) -> str:
    return json.dumps([{"user_id": user, "message": "m"} for user in users])


async def test_a_lock_of_others_is_waited_for_but_not_for_ever(database: str, connection: Connection) -> None:
    async with opened(database, timeout=0.5) as inbox:
        ((row_id, _),) = await inbox.insert(rows(1))
        async with connection.transaction():
            await connection.execute("UPDATE notifications SET message = 'n'")
            with pytest.raises(DatabaseUnavailableError, match="marking a notification"):
                await inbox.mark(row_id, viewed=True, viewer="1")
        assert '"is_viewed":true' in str(await inbox.mark(row_id, viewed=True, viewer="1"))


async def test_many_batches_have_one_time_together_and_who_asks_again_goes_on(
    database: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("db.inbox.VIEWED_BATCH", 1)
    await connection.execute(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.1); RETURN NEW; END'"
    )
    await connection.execute("CREATE TRIGGER slow BEFORE INSERT ON rowcast.viewed FOR EACH ROW EXECUTE FUNCTION slow()")
    async with opened(database, timeout=1) as inbox:
        await inbox.insert(rows(*[None] * 15))
        await relay(database)
        with pytest.raises(SlowDatabaseError, match="marking all as viewed"):
            await inbox.mark_up_to("1", HIGHEST_ID)
        assert 0 < (await inbox.page("1", before=None, limit=1, unread=False)).unread < 15
        while True:
            with contextlib.suppress(SlowDatabaseError):
                assert await inbox.mark_up_to("1", HIGHEST_ID) == 0
                break


async def test_postgres_itself_ends_what_takes_too_long(database: str) -> None:
    """Also what we have given up, which it would else go on with."""
    async with open_pool(DatabaseConfig(database), name="web", statement_timeout=0.2) as pool:
        with pytest.raises(SlowDatabaseError):
            async with asyncio.timeout(10), borrow(pool, doing="sleeping") as session:
                await session.execute("SELECT pg_sleep(60)")


async def test_marking_all_at_once_from_many_tabs_neither_deadlocks_nor_misses(database: str, inbox: Inbox) -> None:
    await inbox.insert(rows(*(user for _ in range(300) for user in (1, None, 2))))
    await relay(database)
    seq = (await inbox.page("1", before=None, limit=1, unread=False)).seq
    async with asyncio.TaskGroup() as tasks:
        marks = [tasks.create_task(inbox.mark_up_to(user, seq)) for user in ("1", "2") * 4]
    assert [mark.result() for mark in marks] == [0] * 8


async def test_marking_all_does_not_hold_up_the_bridge(database: str, inbox: Inbox, connection: Connection) -> None:
    """While the marks are being made the bridge stamps what is new, of the same user too."""
    await inbox.insert(rows(1, 1, 1))
    await relay(database)
    page = await inbox.page("1", before=None, limit=1, unread=False)
    async with asyncio.TaskGroup() as tasks, connection.transaction():
        await connection.execute("SELECT FROM notifications FOR NO KEY UPDATE")
        marking = tasks.create_task(inbox.mark_up_to("1", page.seq))
        await inbox.insert(rows(1))
        await relay(database)
        assert (await inbox.page("1", before=None, limit=1, unread=False)).unread == 4
        assert not marking.done()
    assert marking.result() == 1


async def test_more_rows_than_one_batch_are_marked(
    database: str, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("db.inbox.VIEWED_BATCH", 7)
    await inbox.insert(rows(*(1, None) * 50))
    await relay(database)
    assert await inbox.mark_up_to("1", HIGHEST_ID) == 0
    assert await inbox.mark_up_to("2", HIGHEST_ID) == 0, "50 for everyone; none of user 2's own"


async def test_what_a_trigger_of_the_database_says_is_the_answer(inbox: Inbox, connection: Connection) -> None:
    await connection.execute(
        "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not on Sundays'; END $$"
    )
    await connection.execute("CREATE TRIGGER no BEFORE INSERT ON notifications FOR EACH ROW EXECUTE FUNCTION no()")
    with pytest.raises(RowRefusedError, match="not on Sundays"):
        await inbox.insert(rows(1))
    await connection.execute(
        "CREATE OR REPLACE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$"
    )
    with pytest.raises(RowRefusedError, match="dropped"):
        await inbox.insert(rows(1))


@pytest.fixture(scope="module")
def skewed(databases: Databases) -> Iterator[str]:
    """User 1 has 40 % of all rows and the oldest, all viewed but three; 1 % are for everyone; a thousand others share the rest."""
    with databases.migrated() as address:
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute(
                """
                INSERT INTO notifications (user_id, key, message, is_viewed, seq)
                SELECT CASE WHEN i % 100 = 0 THEN NULL WHEN i <= 40000 THEN 1 ELSE 2 + i % 1000 END, 'key ' || i % 50, 'm',
                    CASE WHEN i % 100 = 0 THEN false WHEN i <= 40000 THEN i > 3 ELSE i % 2 = 0 END, i
                FROM generate_series(1, 100000) AS i
                """
            )
            connection.execute("UPDATE rowcast.state SET last_seq = 100000")
            connection.execute(
                "INSERT INTO rowcast.viewed SELECT 1, id FROM notifications WHERE user_id IS NULL AND id % 200 = 0"
            )
            connection.execute("VACUUM ANALYZE")
        yield address


EVERYONE = ROWS // 100
PAGE = {"upto": HIGHEST_ID, "page": 50, "budget": 1 << 22}
BATCH = {"after": -HIGHEST_ID, "upto": HIGHEST_ID, "batch": 5000}
PLANS: list[tuple[str, Mapping[str, object], int]] = [
    ("list", PAGE, 100 + EVERYONE),
    ("list_unread", PAGE, 200 + EVERYONE),
    ("unread", {}, 200 + EVERYONE),
    ("viewed_own", BATCH, 500),
    ("viewed_everyone", BATCH, EVERYONE),
    ("get", {"id": 5}, 1),
]


@pytest.mark.parametrize("viewer", ["1", "7"])
@pytest.mark.parametrize(("name", "parameters", "most"), PLANS)
async def test_no_statement_walks_through_other_users_rows(
    skewed: str, viewer: str, name: str, parameters: Mapping[str, object], most: int
) -> None:
    async with reading(skewed, one_user(viewer)) as connection:
        nodes = await plan_of(connection, name, {"viewer": viewer, **parameters}, generic=False)
    assert max((node.rows for node in on(nodes, "notifications")), default=0) <= most


@pytest.mark.parametrize("key", ["key 7", "no such key"])
@pytest.mark.parametrize("user_id", [None, "7"])
async def test_the_newest_row_with_a_key_is_found_by_an_index(skewed: str, key: str, user_id: str | None) -> None:
    """Also behind row-level security, which lets no index with a function like left() be used: the function's owner uses it."""
    async with reading(skewed, one_user(user_id)) as connection, connection.transaction():
        await connection.execute("SELECT rowcast.newest_with_key(%s, %s)", (key, user_id))
        [(walked,)] = await (
            await connection.execute(
                "SELECT coalesce(seq_tup_read, 0) FROM pg_stat_xact_user_tables WHERE relname = 'notifications'"
            )
        ).fetchall()
    assert walked == 0
