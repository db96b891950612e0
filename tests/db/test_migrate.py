"""rowcast migrate: once is enough, twenty at once are one, a kill leaves no half, and nothing is changed where it would go wrong."""

from __future__ import annotations

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import psycopg.sql
import pytest
from psycopg.conninfo import make_conninfo

from core.errors import ConfigurationError, DatabaseUnavailableError, DatabaseUnfitError
from core.user_ids import UserIdType
from db import ahead
from db.locks import LEADER, MIGRATE, NAMESPACE
from db.migrate import MigrationResult, migrate
from db.migrations import latest, migration_files
from tests.db.databases import Databases
from tests.waiting import until

pytestmark = pytest.mark.every_postgres


def quiet(_: str) -> None:
    """Nobody listens."""


def value(address: str, statement: bytes) -> object:
    """The first value of what the statement returns."""
    with psycopg.connect(address, autocommit=True) as connection:
        row = connection.execute(statement).fetchone()
    return row and row[0]


RELATIONS = b"SELECT count(*) FROM pg_class WHERE relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname IN ('public', 'rowcast'))"


def test_once_builds_everything(empty: str) -> None:
    told: list[str] = []
    result = migrate(empty, say=told.append)
    assert result == MigrationResult(
        tuple(file.name.removesuffix(".sql") for file in migration_files()), latest(), UserIdType.BIGINT, 1
    )
    assert told[0] == "Applied 0001_notifications."


def test_twice_changes_nothing_and_says_so(empty: str) -> None:
    first = migrate(empty, user_id_type=UserIdType.UUID, buckets=4, say=quiet)
    told: list[str] = []
    second = migrate(empty, say=told.append)
    assert second == MigrationResult((), first.migration, UserIdType.UUID, 4)
    assert told == [
        f"Nothing to migrate: database {value(empty, b'SELECT current_database()')} is at migration {latest()}."
    ]


def test_twenty_at_once_are_one(empty: str) -> None:
    with ThreadPoolExecutor(20) as pool:
        results = list(pool.map(lambda _: migrate(empty, roles=True, say=quiet), range(20)))
    assert sorted(len(result.applied) for result in results) == [0] * 19 + [len(migration_files())]
    assert {result.migration for result in results} == {latest()}


@pytest.mark.parametrize("user_id_type", UserIdType)
def test_the_type_of_user_ids_is_chosen_once(databases: Databases, user_id_type: UserIdType) -> None:
    with databases.empty() as address:
        assert migrate(address, user_id_type=user_id_type, say=quiet).user_id_type == user_id_type
        assert migrate(address, say=quiet).user_id_type == user_id_type
        other = UserIdType.TEXT if user_id_type != UserIdType.TEXT else UserIdType.BIGINT
        with pytest.raises(DatabaseUnfitError, match=f"are {user_id_type}, not {other}"):
            migrate(address, user_id_type=other, say=quiet)


def test_a_newer_database_is_refused_with_both_numbers(empty: str) -> None:
    migrate(empty, say=quiet)
    with psycopg.connect(empty) as connection:
        connection.execute(
            "INSERT INTO rowcast._yoyo_migration (migration_hash, migration_id) VALUES ('x', '9999_from_the_future')"
        )
    with pytest.raises(DatabaseUnfitError, match=f"at migration 9999, and this Rowcast knows only up to {latest()}:"):
        migrate(empty, say=quiet)


def test_a_migration_that_fails_leaves_no_trace(empty: str, tmp_path: Path) -> None:
    bad = tmp_path / "9000_bad.sql"
    bad.write_text("CREATE TABLE rowcast.half (); SELECT 1 / 0;")
    migrate(empty, say=quiet)
    before = value(empty, RELATIONS)
    with pytest.raises(DatabaseUnfitError, match="Migration 9000_bad failed and was rolled back: division by zero"):
        migrate(empty, say=quiet, files=[*migration_files(), bad])
    assert value(empty, RELATIONS) == before
    bad.write_text("CREATE TABLE rowcast.whole (); SELECT '50 %'; DO $$ BEGIN PERFORM 1; PERFORM 2; END $$;")
    assert migrate(empty, say=quiet, files=[*migration_files(), bad]).applied == ("9000_bad",)


def test_killed_in_the_middle_it_works_the_next_time(empty: str) -> None:
    """kill -9 while the first migration stands inside its transaction, in the way of a name that another session is taking."""
    code = "import sys; from db.migrate import migrate; migrate(sys.argv[1], say=print)"
    with psycopg.connect(empty) as blocker:
        blocker.execute("CREATE TABLE public.notifications_unread ()")
        with psycopg.connect(empty, autocommit=True) as observer:
            process = subprocess.Popen([sys.executable, "-c", code, empty])
            wait_for(
                observer,
                b"SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                b"AND application_name = 'rowcast migrate' AND wait_event_type = 'Lock'",
            )
            process.send_signal(signal.SIGKILL)
            process.wait()
        blocker.rollback()
    assert value(empty, b"SELECT to_regclass('public.notifications')") is None
    assert migrate(empty, say=quiet).applied[0] == "0001_notifications"


def test_a_lock_that_is_not_to_be_had_is_given_up(empty: str, tmp_path: Path) -> None:
    """A migration doesn't queue up before the table for long: every INSERT would wait behind it."""
    migrate(empty, say=quiet)
    change = tmp_path / "9000_change.sql"
    change.write_text("SET LOCAL lock_timeout = '50ms'; ALTER TABLE public.notifications ADD COLUMN more text;")
    with psycopg.connect(empty) as reader:
        reader.execute("SELECT FROM public.notifications")
        with pytest.raises(DatabaseUnavailableError, match="waited 3 s for a lock"):
            migrate(empty, say=quiet, files=[*migration_files(), change])
    assert migrate(empty, say=quiet, files=[*migration_files(), change]).applied == ("9000_change",)


BORN = b"SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('notifications_born')"
RUNNING = (
    b"SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX CONCURRENTLY%' "
    b"AND datname = current_database() AND wait_event_type = 'Lock'"
)


def test_on_a_large_table_writers_go_on_while_an_index_is_built(empty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for a report that runs; they don't. A run that is ended meanwhile has changed nothing that the next one can't use."""
    monkeypatch.setattr(ahead, "LARGE", 0)
    migrate(empty, files=migration_files()[:5], say=quiet)
    insert = b"INSERT INTO notifications (message) VALUES ('before')"
    with (
        psycopg.connect(empty) as report,
        psycopg.connect(empty, autocommit=True) as other,
        ThreadPoolExecutor(1) as pool,
    ):
        other.execute("SET statement_timeout = '2s'")
        report.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        report.execute("SELECT FROM rowcast.state")
        for ended in (True, False):
            migrating = pool.submit(migrate, empty, say=quiet)
            wait_for(other, RUNNING)
            other.execute(insert)
            other.execute("UPDATE notifications SET message = 'changed' WHERE message = 'before'")
            if ended:
                other.execute(RUNNING.replace(b"count(*)", b"pg_terminate_backend(pid)"))
                with pytest.raises(DatabaseUnavailableError):
                    migrating.result(10)
                assert value(empty, BORN) is False
        report.commit()
        assert migrating.result(10).applied[0] == "0006_born"
    assert value(empty, BORN) is True
    assert value(empty, b"SELECT count(born) FROM notifications") == 0


@pytest.mark.parametrize("user_id_type", UserIdType)
def test_a_database_with_rows_gets_the_list_of_revocations_for_its_type_of_user_ids(
    empty: str, user_id_type: UserIdType
) -> None:
    migrate(empty, user_id_type=user_id_type, files=migration_files()[:6], say=quiet)
    user = {"bigint": "7", "uuid": "00000000-0000-0000-0000-000000000007", "text": "seven"}[user_id_type]
    with psycopg.connect(empty, autocommit=True) as owner:
        owner.execute("INSERT INTO notifications (user_id, message) VALUES (%s, 'before')", (user,))
        assert migrate(empty, roles=True, say=quiet).applied[0] == "0007_revocations"
        owner.execute("SELECT rowcast.revoke(%s, NULL, NULL)", (user,))
        joined = "SELECT message FROM notifications JOIN rowcast.revocations USING (user_id)"
        assert owner.execute(joined).fetchall() == [("before",)]


def test_buckets_are_left_set_and_bounded(empty: str) -> None:
    assert migrate(empty, say=quiet).buckets == 1
    assert migrate(empty, buckets=16384, say=quiet).buckets == 16384
    assert migrate(empty, say=quiet).buckets == 16384
    for wrong in (0, -1, 16385):
        with pytest.raises(ConfigurationError, match=f"from 1 to 16384, not {wrong}"):
            migrate(empty, buckets=wrong, say=quiet)


def test_buckets_do_not_change_under_a_leader(empty: str) -> None:
    migrate(empty, buckets=4, say=quiet)
    with psycopg.connect(empty, autocommit=True) as leader:
        leader.execute("SELECT pg_advisory_lock(%s, %s)", (NAMESPACE, LEADER))
        with pytest.raises(
            DatabaseUnfitError, match="stop them all, run `rowcast migrate --buckets 8`, start them again"
        ):
            migrate(empty, buckets=8, say=quiet)
        assert migrate(empty, buckets=4, say=quiet).buckets == 4
        leader.execute("SELECT pg_advisory_unlock(%s, %s)", (NAMESPACE, LEADER))  # its end would let go a moment later
    assert migrate(empty, buckets=8, say=quiet).buckets == 8


async def test_the_lock_does_not_outlive_a_run(empty: str) -> None:
    migrate(empty, say=quiet)
    here = b"SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database WHERE locktype = 'advisory' AND datname = current_database()"
    # The session is closed on our side; Postgres takes a moment to see that.
    await until(lambda: value(empty, here) == 0)


def test_a_migrator_that_waits_says_so_and_does_not_hold_back_vacuum(empty: str) -> None:
    told: list[str] = []
    with psycopg.connect(empty, autocommit=True) as other, ThreadPoolExecutor(1) as pool:
        other.execute("SELECT pg_advisory_lock(%s, %s)", (NAMESPACE, MIGRATE))
        waiting = pool.submit(migrate, empty, say=told.append)
        wait_for(
            other,
            b"SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(0.2)%' AND pid <> pg_backend_pid()",
        )
        other.execute("SELECT pg_current_xact_id(), set_config('test.burnt', pg_current_xact_id()::text, false)")
        # It still waits, and its snapshot is one taken after that transaction.
        wait_for(
            other,
            b"SELECT count(*) FROM pg_stat_activity WHERE application_name = 'rowcast migrate' "
            b"AND (backend_xmin IS NULL OR backend_xmin::text::bigint > current_setting('test.burnt')::bigint)",
        )
        assert not waiting.done()
        other.execute("SELECT pg_advisory_unlock_all()")
        assert waiting.result().applied
    assert told[0] == "Another migration is running; waiting for its end."


def wait_for(observer: psycopg.Connection[tuple[object, ...]], statement: bytes) -> None:
    """Ask the server until the statement returns something else than zero."""
    while (row := observer.execute(statement).fetchone()) and not row[0]:
        observer.execute("SELECT pg_sleep(0.01)")


def test_a_superuser_who_migrates_leaves_all_to_the_owner(databases: Databases, empty: str) -> None:
    """Else a function of one owner would use tables of the other, and INSERTs fail."""
    with databases.login() as name, psycopg.connect(empty, autocommit=True) as superuser:
        login = psycopg.sql.Identifier(name)
        [(database,)] = superuser.execute("SELECT current_database()").fetchall()
        grant = psycopg.sql.SQL("GRANT CREATE ON DATABASE {} TO {}; GRANT CREATE ON SCHEMA public TO {}")
        superuser.execute(grant.format(psycopg.sql.Identifier(database), login, login))
        owner = make_conninfo(empty, user=name, password="test")
        migrate(owner, say=lambda _: None, files=migration_files()[:5])
        migrate(empty, roles=True, say=lambda _: None)
        strangers = superuser.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'rowcast'::regnamespace AND relowner <> %(owner)s::regrole "
            "UNION SELECT proname FROM pg_proc WHERE pronamespace = 'rowcast'::regnamespace AND proowner <> %(owner)s::regrole",
            {"owner": name},
        ).fetchall()
        superuser.execute(
            psycopg.sql.SQL("REASSIGN OWNED BY {} TO CURRENT_USER; DROP OWNED BY {}").format(login, login)
        )
        assert strangers == []
