"""Row-level security, the second wall: a login in rowcast_web sees the rows of whom its transaction names, whatever its query says."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.errors import FeatureNotSupported, InsufficientPrivilege

from core.events import Range
from core.user_ids import UserIdType
from db.connect import Connection, DatabaseConfig, borrow, is_walled, open_pool, session
from db.history import Asked, History, Page
from db.inbox import Inbox, RowRefusedError
from db.leadership import try_lead
from db.migrate import migrate
from db.outbox import NOTHING_HELD, SOURCES, claim
from db.queries import query
from db.readers import EVERYBODY, Reader, Reading, one_user, several
from rowcast.embedded.binaries import postgres_programs
from tests.db.databases import Databases

IDS = {
    UserIdType.BIGINT: ["1", "-2", "0"],
    UserIdType.TEXT: ["*", 'a"b\\c,{}', "null"],
    UserIdType.UUID: [f"00000000-0000-0000-0000-00000000000{digit}" for digit in (1, 2, 3)],
}
ALL = "SELECT user_id::text FROM public.notifications ORDER BY id"


_KINDS = [pytest.param(kind, marks=() if kind is UserIdType.TEXT else pytest.mark.slow) for kind in UserIdType]


@pytest.fixture(params=_KINDS)
def kind(request: pytest.FixtureRequest) -> UserIdType:
    return UserIdType(request.param)


@pytest.fixture
def filled(databases: Databases, kind: UserIdType) -> Iterator[str]:
    """A database with a relayed row for each of three users, and one for everyone."""
    with databases.migrated(kind) as address:
        fill(address, IDS[kind])
        yield address


def fill(address: str, ids: list[str]) -> None:
    with psycopg.connect(address, autocommit=True) as owner:
        for user in (*ids, None):
            owner.execute("INSERT INTO notifications (user_id, key, message) VALUES (%s, 'k', 'm')", (user,))
        owner.execute("UPDATE notifications SET seq = id")
        owner.execute("UPDATE rowcast.state SET last_seq = 4")


@pytest.fixture
def web(databases: Databases, filled: str) -> Iterator[str]:
    with databases.login("rowcast_web") as name:
        yield make_conninfo(filled, user=name, password="test")


@pytest.fixture
async def pooled(web: str) -> AsyncIterator[tuple[Inbox, History]]:
    async with open_pool(DatabaseConfig(web, 1), name="web") as pool:
        yield Inbox(pool), History(pool)


def seen(address: str, **settings: str) -> list[str | None]:
    with psycopg.connect(address) as connection:
        for name, value in settings.items():
            connection.execute("SELECT set_config(%s, %s, true)", (f"rowcast.{name}", value))
        return [user for (user,) in connection.execute(ALL)]


@pytest.mark.every_postgres
def test_a_transaction_sees_whom_it_names_and_what_is_for_everyone(web: str, kind: UserIdType) -> None:
    one, two, three = IDS[kind]
    for user in IDS[kind]:
        assert seen(web, user=user) == [user, None]
    assert seen(web, users=json.dumps([one, two]).replace("[", "{", 1)[:-1] + "}") == [one, two, None]
    assert seen(web, users="*") == [one, two, three, None]
    assert seen(web, users="{}") == [None]
    assert seen(web, user="") == seen(web, users="") == seen(web, user="", users="") == []


@pytest.mark.every_postgres
def test_who_never_names_anybody_gets_an_error_and_not_nothing(web: str) -> None:
    """A web process from before row-level security would take nothing for all there is, and pass it."""
    for statement in (ALL, "UPDATE notifications SET is_viewed = true", "DELETE FROM notifications"):
        with psycopg.connect(web) as connection, pytest.raises(psycopg.errors.UndefinedObject, match="rowcast"):
            connection.execute(psycopg.sql.SQL(statement).format())


@pytest.mark.every_postgres
def test_a_wall_that_was_there_keeps_from_others_what_it_kept(databases: Databases, database: str) -> None:
    fill(database, ["1", "2"])
    with databases.login() as name, psycopg.connect(database, autocommit=True) as owner:
        for policy in ("rowcast_grants", "rowcast_web_select", "rowcast_web_update", "rowcast_web_delete"):
            owner.execute(psycopg.sql.SQL("DROP POLICY {} ON notifications").format(psycopg.sql.Identifier(policy)))
        login = psycopg.sql.Identifier(name)
        owner.execute(psycopg.sql.SQL("GRANT SELECT ON notifications TO {}").format(login))
        owner.execute(psycopg.sql.SQL("CREATE POLICY mine ON notifications TO {} USING (user_id = 2)").format(login))
        migrate(database, roles=True, say=lambda _: None)
        assert seen(make_conninfo(database, user=name, password="test")) == ["2"]
        owner.execute(psycopg.sql.SQL("DROP OWNED BY {}").format(login))


@pytest.mark.every_postgres
async def test_the_web_reads_for_one_user_and_gets_no_other_row(
    pooled: tuple[Inbox, History], kind: UserIdType
) -> None:
    inbox, history = pooled
    one, two, three = IDS[kind]
    for row, user in enumerate(IDS[kind], 1):
        assert [event.user_id for event in (await history.replay(user, after=0, upto=None)).events] == [user, None]
        assert [
            json.loads(item)["id"] for item in (await inbox.page(user, before=None, limit=9, unread=True)).items
        ] == [4, row]
        assert json.loads(str(await inbox.newest_with_key("k", viewer=user)))["id"] == 4
        assert await inbox.get(row, viewer=user)
        assert await inbox.mark(row, viewed=True, viewer=user)
    assert await inbox.get(1, viewer=two) is None
    assert await inbox.mark(1, viewed=False, viewer=two) is None
    assert not await inbox.delete(1, viewer=two)
    assert len((await history.reread([one, three], after=0, upto=None)).events) == 3
    pages = await history.replay_many([Asked(user, 0, None, False, 0) for user in (one, two)], limit=9)
    assert [[event.user_id for event in page.events] for page in pages if isinstance(page, Page)] == [
        [one, None],
        [two, None],
    ]
    assert await history.oldest() == 1
    assert await inbox.mark_up_to(one, 4) == 0
    rows = await inbox.insert(
        json.dumps([{"user_id": json.loads(one) if kind is UserIdType.BIGINT else one, "message": ""}, {"message": ""}])
    )
    assert [row_id for row_id, _ in rows] == [5, 6]
    assert await inbox.delete(1, viewer=one)
    assert await inbox.delete(2, viewer=None)


@pytest.mark.every_postgres
@pytest.mark.parametrize(
    "statement",
    [
        "SELECT id FROM notifications WHERE id = 2",
        "SELECT id FROM notifications WHERE id = 2 FOR UPDATE",
        "UPDATE notifications SET is_viewed = true WHERE id = 2 RETURNING id",
        "DELETE FROM notifications WHERE id = 2 RETURNING id",
        "WITH others AS (UPDATE notifications SET is_viewed = true RETURNING id) SELECT id FROM others WHERE id = 2",
        "SELECT id FROM notifications WHERE id = 2 AND 1 / (id - 2) IS NULL",
    ],
)
async def test_a_query_that_forgets_its_user_finds_nothing_of_others(
    web: str, kind: UserIdType, statement: LiteralString
) -> None:
    """Nor does an error of a condition tell about a row that is not seen: the wall is asked first."""
    async with open_pool(DatabaseConfig(web, 1), name="web") as pool, borrow(pool, doing="testing") as borrowed:
        reading = Reading(borrowed, one_user(IDS[kind][0]))
        assert await (await reading.execute(psycopg.sql.SQL(statement).format())).fetchall() == []


async def settings(connection: Connection) -> tuple[str | None, str | None]:
    row = await (
        await connection.execute("SELECT current_setting('rowcast.user', true), current_setting('rowcast.users', true)")
    ).fetchone()
    assert row is not None
    return row[0], row[1]


async def test_nothing_of_a_reader_is_left_in_the_session_for_the_next(web: str, kind: UserIdType) -> None:
    """After a read, after one that failed, and after one that was given up."""
    reader = one_user(IDS[kind][0])
    async with open_pool(DatabaseConfig(web, 1), name="web") as pool:
        for statement in (ALL, "SELECT 1 / 0"):
            async with borrow(pool, doing="testing") as borrowed:
                with suppress(psycopg.errors.DivisionByZero):
                    await Reading(borrowed, reader).execute(psycopg.sql.SQL(statement).format())
                assert not any(await settings(borrowed))
                assert await (await borrowed.execute(ALL)).fetchall() == []
        for _ in range(3):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05), pool.connection() as borrowed:
                    await Reading(borrowed, EVERYBODY).execute(psycopg.sql.SQL("SELECT pg_sleep(5)").format())
            async with borrow(pool, doing="testing") as borrowed:
                with suppress(psycopg.errors.UndefinedObject):  # in a new session nobody was named yet
                    assert await (await borrowed.execute(ALL)).fetchall() == []


async def test_an_error_inside_is_told_as_without_the_wall(pooled: tuple[Inbox, History], filled: str) -> None:
    with psycopg.connect(filled, autocommit=True) as owner:
        owner.execute("ALTER TABLE notifications ADD CHECK (message <> 'no')")
    with pytest.raises(RowRefusedError, match="violates check constraint"):
        await pooled[0].insert('[{"message":"no"}]')
    assert len(await pooled[0].insert('[{"message":"yes"}]')) == 1


async def test_only_a_login_that_security_may_limit_pays_for_it(web: str, filled: str) -> None:
    for address, walled in ((web, True), (filled, False)):
        async with open_pool(DatabaseConfig(address, 1), name="web") as pool, borrow(pool, doing="testing") as borrowed:
            assert is_walled(borrowed) is walled


async def test_security_that_is_switched_on_while_a_web_runs_hides_nothing_from_it(databases: Databases) -> None:
    with databases.migrated() as address, databases.login("rowcast_web") as name:
        with psycopg.connect(address, autocommit=True) as owner:
            owner.execute("ALTER TABLE notifications DISABLE ROW LEVEL SECURITY")
            owner.execute("DROP POLICY rowcast_web_select ON notifications")
        fill(address, ["1"])
        async with open_pool(DatabaseConfig(make_conninfo(address, user=name, password="test"), 1), name="web") as pool:
            history = History(pool)
            assert len((await history.replay("1", after=0, upto=None)).events) == 2
            migrate(address, roles=True, say=lambda _: None)
            assert len((await history.replay("1", after=0, upto=None)).events) == 2
        assert seen(make_conninfo(address, user=name, password="test"), user="") == []


async def test_a_bridge_whose_login_is_in_rowcast_web_too_sees_every_row(databases: Databases, database: str) -> None:
    with databases.login("rowcast_web", "rowcast_bridge") as name:
        address = make_conninfo(database, user=name, password="test")
        with psycopg.connect(database, autocommit=True) as owner:
            owner.execute("INSERT INTO notifications (user_id, message) VALUES (1, ''), (2, ''), (NULL, '')")
        async with session(address, name="bridge") as leader:
            assert await try_lead(leader)
            got = await claim(leader, SOURCES[0], NOTHING_HELD, batch=10)
            assert got.stamped == Range(0, 3)


@pytest.mark.every_postgres
def test_other_roles_see_what_they_were_granted(databases: Databases, database: str) -> None:
    fill(database, ["1", "2", "3"])
    with databases.login() as name, psycopg.connect(database, autocommit=True) as owner:
        owner.execute(psycopg.sql.SQL("GRANT SELECT ON notifications TO {}").format(psycopg.sql.Identifier(name)))
        assert len(seen(make_conninfo(database, user=name, password="test"))) == 4
        owner.execute(psycopg.sql.SQL("DROP OWNED BY {}").format(psycopg.sql.Identifier(name)))


@pytest.mark.every_postgres
def test_copy_by_a_writer_needs_bypassrls_and_everything_else_does_not(databases: Databases, database: str) -> None:
    """What docs/postgres.md says of COPY, and its ways out."""
    with databases.login("rowcast_writer") as name:
        address = make_conninfo(database, user=name, password="test")
        with psycopg.connect(address, autocommit=True) as writer, pytest.raises(FeatureNotSupported, match="COPY FROM"):
            copy(writer, "notifications")
        with psycopg.connect(address, autocommit=True) as writer:
            writer.execute("CREATE TEMPORARY TABLE mine (user_id bigint, message text)")
            copy(writer, "mine")
            writer.execute("INSERT INTO notifications (user_id, message) SELECT user_id, message FROM mine")
        with psycopg.connect(database, autocommit=True) as owner:
            owner.execute(psycopg.sql.SQL("ALTER ROLE {} BYPASSRLS").format(psycopg.sql.Identifier(name)))
            with psycopg.connect(address, autocommit=True) as writer:
                copy(writer, "notifications")
                with pytest.raises(InsufficientPrivilege):
                    writer.execute("SELECT message FROM notifications")
            assert owner.execute("SELECT user_id, message FROM notifications").fetchall() == [(7, "copied")] * 2


def copy(writer: psycopg.Connection, table: LiteralString) -> None:
    with writer.cursor().copy(
        psycopg.sql.SQL("COPY {} (user_id, message) FROM STDIN").format(psycopg.sql.Identifier(table))
    ) as rows:
        rows.write_row((7, "copied"))


def test_the_owner_dumps_every_row(database: str) -> None:
    fill(database, ["1", "2", "3"])
    program = postgres_programs(Path("/nonexistent"), None) / "pg_dump"
    password = str(conninfo_to_dict(database).get("password", ""))
    command = [str(program), "--data-only", "--table=public.notifications", f"--dbname={database}"]
    done = subprocess.run(command, env={"PGPASSWORD": password}, capture_output=True, text=True, check=True)
    assert done.stdout.count("notifications_channel") == 4


def test_granting_again_waits_for_no_reader(database: str) -> None:
    """What is there already is not made again: that would need a lock that everybody waits for."""
    with psycopg.connect(database) as reader:
        reader.execute("SELECT FROM notifications")
        migrate(database, roles=True, say=lambda _: None)


def test_the_reader_of_a_strange_id() -> None:
    assert one_user("") == several([""]) == Reader(users='{""}')
    assert one_user("*") == Reader(user="*")
    assert one_user(None) == EVERYBODY
    assert query("reader")
