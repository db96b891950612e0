"""What makes a Postgres unfit is told in one sentence that says what to do, and nothing was changed by then."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from core.errors import DatabaseUnavailableError, DatabaseUnfitError
from core.user_ids import UserIdType
from db.connect import session
from db.migrate import migrate
from db.migrations import latest, migration_files
from db.preflight import DatabaseFacts, Part, inspect
from db.survey import require_version
from tests.db.databases import Databases
from tests.db.pgbouncer import pgbouncer
from tests.servers import embedded_postgres

CHANGED = "SELECT count(*) FROM pg_class WHERE relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname IN ('public', 'rowcast'))"


def run(address: str, *statements: LiteralString) -> None:
    with psycopg.connect(address, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def relations(address: str) -> object:
    with psycopg.connect(address) as connection:
        return connection.execute(CHANGED).fetchone()


def refused(address: str, sentence: str, *, roles: bool = False, user_id_type: UserIdType | None = None) -> None:
    """`migrate` says the sentence, and leaves everything as it was."""
    before = relations(address)
    with pytest.raises(DatabaseUnfitError, match=sentence):
        migrate(address, roles=roles, user_id_type=user_id_type, say=lambda _: None)
    assert relations(address) == before


@pytest.fixture
def stranger(databases: Databases) -> Iterator[str]:
    """A login that is a member of nothing."""
    with databases.login() as name:
        yield name


def test_a_server_that_is_too_old() -> None:
    require_version(140000)
    with pytest.raises(DatabaseUnfitError, match=r"This is Postgres 13\.12, and Rowcast needs 14 or newer: upgrade it"):
        require_version(130012)
    with pytest.raises(DatabaseUnfitError, match=r"This is Postgres 9\.6\.24"):
        require_version(90624)


def test_a_database_that_cannot_hold_every_text(databases: Databases) -> None:
    with databases.empty("ENCODING 'SQL_ASCII' LOCALE 'C' LOCALE_PROVIDER libc TEMPLATE template0") as address:
        refused(address, "encoded in SQL_ASCII.*createdb --encoding=UTF8")


def test_missing_rights_are_told_one_after_the_other(databases: Databases, empty: str, stranger: str) -> None:
    address = make_conninfo(empty, user=stranger, password="test")
    refused(
        address,
        f'Role {stranger} may not create a schema here.*GRANT CREATE ON DATABASE "test_[0-9a-f]+" TO "{stranger}"',
    )
    with psycopg.connect(empty) as owner:
        database = owner.info.dbname
        owner.execute(f'GRANT CREATE ON DATABASE "{database}" TO "{stranger}"'.encode())
    refused(address, f'may not create tables in schema public.*GRANT CREATE ON SCHEMA public TO "{stranger}"')
    with psycopg.connect(empty) as owner:
        owner.execute(f'GRANT CREATE ON SCHEMA public TO "{stranger}"'.encode())
    try:
        migrate(address, say=lambda _: None)
        assert migrate(address, say=lambda _: None).applied == ()
    finally:
        with psycopg.connect(empty) as owner:
            owner.execute(f'DROP OWNED BY "{stranger}"'.encode())


def test_roles_need_the_right_to_create_them_unless_they_are_there(empty: str) -> None:
    """On a server of its own: roles belong to the whole cluster, and other tests have made them on theirs."""
    with embedded_postgres() as server:
        databases = Databases(server.url)
        with databases.empty() as address, databases.login() as builder:
            with psycopg.connect(address) as owner:
                owner.execute(f'GRANT CREATE ON DATABASE "{owner.info.dbname}" TO "{builder}"'.encode())
                owner.execute(f'GRANT CREATE ON SCHEMA public TO "{builder}"'.encode())
            as_builder = make_conninfo(address, user=builder, password="test")
            refused(as_builder, f'Role {builder} may not create roles.*ALTER ROLE "{builder}" CREATEROLE', roles=True)
            run(address, "CREATE ROLE rowcast_writer", "CREATE ROLE rowcast_bridge")
            run(address, "CREATE ROLE rowcast_web", "CREATE ROLE rowcast_pruner")
            migrate(as_builder, roles=True, say=lambda _: None)
            with psycopg.connect(address) as owner:
                owner.execute(f'DROP OWNED BY "{builder}"'.encode())


def test_only_the_owner_migrates_again(databases: Databases, database: str) -> None:
    with databases.login("rowcast_bridge") as name:
        refused(make_conninfo(database, user=name, password="test"), "does not own public.notifications: .* as rowcast")


@pytest.mark.parametrize(
    "statement",
    ["CREATE TABLE public.notifications (id bigint, text text)", "CREATE VIEW public.notifications AS SELECT 1 AS one"],
)
def test_a_table_of_another_shape(empty: str, statement: LiteralString) -> None:
    run(empty, statement)
    refused(empty, "A table public.notifications is already in database .*, with other columns .*SET SCHEMA old")


def test_the_way_out_that_is_offered_works(empty: str) -> None:
    run(empty, "CREATE TABLE public.notifications (id bigserial PRIMARY KEY, text text)")
    run(empty, "CREATE SCHEMA old; ALTER TABLE public.notifications SET SCHEMA old")
    assert migrate(empty, say=lambda _: None).applied


def test_a_name_that_is_taken(empty: str) -> None:
    run(empty, "CREATE SEQUENCE public.notifications_id_seq")
    refused(empty, "needs the name public.notifications_id_seq, which is taken")


def test_a_schema_of_the_same_name(empty: str) -> None:
    run(empty, "CREATE SCHEMA rowcast", "CREATE TABLE rowcast.mine ()")
    refused(empty, "Schema rowcast of database .* holds mine, but not from `rowcast migrate`")


def test_a_column_of_ones_own_that_has_the_name_of_one_to_come(empty: str) -> None:
    migrate(empty, say=lambda _: None, files=migration_files()[:5])
    run(empty, "ALTER TABLE public.notifications ADD COLUMN born date")
    refused(empty, "born is date, not xid8")


def test_a_table_that_was_changed(database: str) -> None:
    run(database, "ALTER TABLE public.notifications ALTER COLUMN created_at TYPE date")
    refused(database, "was changed: created_at is date, not timestamp with time zone")


def test_columns_of_ones_own_are_fine(database: str) -> None:
    run(database, "ALTER TABLE public.notifications ADD COLUMN tenant uuid")
    assert migrate(database, say=lambda _: None).applied == ()


def test_ours_with_another_type_of_user_ids(database: str) -> None:
    refused(database, "are bigint, not uuid.*Leave --user-id-type out", user_id_type=UserIdType.UUID)


def test_a_table_that_is_gone(database: str) -> None:
    run(database, "DROP TABLE public.notifications CASCADE")
    refused(database, "was migrated, but has no table public.notifications")


def test_a_standby() -> None:
    with embedded_postgres() as server:
        Path(server.log.parent, "postgres", "standby.signal").touch()
        with psycopg.connect(server.url, autocommit=True) as connection:
            # A backend that dies makes the server recover, which as a standby it never ends.
            os.kill(connection.info.backend_pid, signal.SIGKILL)
            with pytest.raises(psycopg.OperationalError):
                connection.execute("SELECT pg_sleep(60)")
        while not answers(server.url):
            assert server.alive()
        with pytest.raises(DatabaseUnfitError, match="is a standby, which can't be written to: name the primary"):
            migrate(server.url, say=lambda _: None)


def answers(url: str) -> bool:
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return False
    return True


def test_sessions_that_are_read_only(databases: Databases, empty: str, stranger: str) -> None:
    run(empty, f'ALTER ROLE "{stranger}" SET default_transaction_read_only = on'.encode())  # type: ignore[arg-type]
    refused(
        make_conninfo(empty, user=stranger, password="test"), "are read-only: set default_transaction_read_only to off"
    )


def test_a_server_that_is_away() -> None:
    with pytest.raises(DatabaseUnavailableError, match="Postgres failed while connecting"):
        migrate("postgresql://nobody@127.0.0.1:1/nothing", say=lambda _: None)


def test_several_hosts_of_which_one_is_away(empty: str) -> None:
    with psycopg.connect(empty) as connection:
        port = connection.info.port
    assert migrate(make_conninfo(empty, host="127.0.0.1,127.0.0.1", port=f"1,{port}"), say=lambda _: None).applied


async def inspected(address: str, part: Part | None = None) -> DatabaseFacts:
    async with session(address, name="test") as connection:
        return await inspect(connection, part=part)


@pytest.mark.parametrize("user_id_type", UserIdType)
async def test_the_facts_of_a_fit_database(databases: Databases, user_id_type: UserIdType) -> None:
    with databases.migrated(user_id_type) as address:
        migrate(address, buckets=64, say=lambda _: None)
        facts = await inspected(address)
    assert (facts.user_id_type, facts.buckets, facts.migration) == (
        user_id_type,
        64,
        latest(),
    )
    assert facts.server_version >= 140000


async def test_a_database_that_was_not_migrated(empty: str) -> None:
    with pytest.raises(DatabaseUnfitError, match="has no tables of Rowcast yet: run `rowcast migrate`"):
        await inspected(empty)


async def test_a_database_that_is_behind_or_ahead(database: str) -> None:
    run(database, "INSERT INTO rowcast._yoyo_migration (migration_hash, migration_id) VALUES ('x', '9999_new')")
    with pytest.raises(DatabaseUnfitError, match=f"is at migration 9999, and this Rowcast knows only up to {latest()}"):
        await inspected(database)
    run(database, "UPDATE rowcast._yoyo_migration SET migration_id = '0000_old'")
    with pytest.raises(DatabaseUnfitError, match="run `rowcast migrate`"):
        await inspected(database)


async def test_a_sequence_with_a_cache(database: str) -> None:
    run(database, "ALTER SEQUENCE public.notifications_id_seq CACHE 20")
    with pytest.raises(
        DatabaseUnfitError,
        match=r"notifications_id_seq has CACHE 20.*run `ALTER SEQUENCE notifications_id_seq CACHE 1`",
    ):
        await inspected(database)


async def test_ids_from_an_identity_column_with_a_cache(database: str) -> None:
    run(
        database,
        "ALTER TABLE public.notifications ALTER COLUMN id DROP DEFAULT",
        "DROP SEQUENCE public.notifications_id_seq",
        "ALTER TABLE public.notifications ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (CACHE 5)",
    )
    with pytest.raises(DatabaseUnfitError, match="has CACHE 5"):
        await inspected(database)


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE public.notifications DISABLE TRIGGER rowcast_ring",
        "ALTER TABLE public.notifications ENABLE TRIGGER rowcast_ring",
        "DROP TRIGGER rowcast_ring ON public.notifications",
    ],
)
async def test_a_trigger_that_does_not_always_fire(database: str, statement: LiteralString) -> None:
    run(database, statement)
    with pytest.raises(
        DatabaseUnfitError, match="has no trigger rowcast_ring that always fires: run `ALTER TABLE notifications ENABLE"
    ):
        await inspected(database)


@pytest.mark.parametrize("part", ["bridge", "web"])
async def test_rights_of_each_part(databases: Databases, database: str, part: Part) -> None:
    other: LiteralString = "rowcast_web" if part == "bridge" else "rowcast_bridge"
    mine: LiteralString = "rowcast_bridge" if part == "bridge" else "rowcast_web"
    with databases.login(mine) as name:
        assert (await inspected(make_conninfo(database, user=name, password="test"), part)).buckets == 1
    with (
        databases.login(other) as name,
        pytest.raises(DatabaseUnfitError, match=f"Role {name} lacks .*`GRANT {mine} TO"),
    ):
        await inspected(make_conninfo(database, user=name, password="test"), part)


async def test_a_role_without_any_right(database: str, stranger: str) -> None:
    with pytest.raises(DatabaseUnfitError, match=f"Role {stranger} may not read schema rowcast: make it a member"):
        await inspected(make_conninfo(database, user=stranger, password="test"))


async def test_a_session_that_was_lost_is_no_misconfiguration(database: str) -> None:
    async with session(database, name="test") as connection:
        run(database, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'test'")
        with pytest.raises(DatabaseUnavailableError):
            await inspect(connection)


@pytest.mark.slow
async def test_a_pooler_in_transaction_mode(database: str) -> None:
    with pgbouncer(database, mode="transaction") as address:
        refused_through_pooler(address)
        with pytest.raises(DatabaseUnfitError, match="a pooler in transaction mode"):
            await inspected(address)


@pytest.mark.slow
async def test_a_busy_pooler_in_transaction_mode(database: str) -> None:
    """Others hold all but two server sessions, so that ours are handed round."""
    with (
        pgbouncer(database, mode="transaction", size=4) as address,
        psycopg.connect(address) as one,
        psycopg.connect(address) as other,
    ):
        one.execute("SELECT 1")
        other.execute("SELECT 1")
        refused_through_pooler(address)


@pytest.mark.slow
async def test_a_pooler_in_session_mode_will_do(empty: str) -> None:
    with pgbouncer(empty, mode="session") as address:
        assert migrate(address, say=lambda _: None).applied
        assert (await inspected(address)).buckets == 1


@pytest.mark.slow
def test_a_pooler_in_session_mode_that_is_too_small(database: str) -> None:
    with (
        pgbouncer(database, mode="session", size=1) as address,
        pytest.raises(DatabaseUnavailableError, match="gave no second session in 5 s: enlarge its pool"),
    ):
        migrate(address, say=lambda _: None)


def refused_through_pooler(address: str) -> None:
    with pytest.raises(DatabaseUnfitError, match=r"a pooler in transaction mode.*address of Postgres itself"):
        migrate(address, say=lambda _: None)
