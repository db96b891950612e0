"""`rowcast prune`: what went, in one line; with the rights of its role; and honest when stopped or refused."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests.db.databases import Databases
from tests.parts import ROOT
from tests.rowcast.ups import environment

FILL = (
    "INSERT INTO notifications (user_id, message, created_at, is_viewed, seq) "
    "SELECT 1, 'x', now() - interval '40 days', i % 2 = 0, i FROM generate_series(1, {old}) AS i"
)


@pytest.fixture
def database(databases: Databases) -> Iterator[str]:
    """1,000 rows of 40 days ago, every other one viewed, and one of now."""
    with databases.migrated() as url:
        fill(url, 1000)
        yield url


def fill(url: str, old: int) -> None:
    with psycopg.connect(url, autocommit=True) as sql:
        sql.execute(FILL.format(old=old).encode())
        sql.execute("INSERT INTO notifications (user_id, message, seq) VALUES (1, 'new', %s)", (old + 1,))
        sql.execute("INSERT INTO rowcast.viewed VALUES (1, -1)")
        sql.execute("UPDATE rowcast.state SET last_seq = %s", (old + 1,))


def prune(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rowcast", "prune", *arguments],
        env=environment() | {"ROWCAST_DATABASE_URL": url},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def count(url: str) -> tuple[int, int]:
    """Rows, and the position up to which history is gone."""
    with psycopg.connect(url) as sql:
        row = sql.execute("SELECT (SELECT count(*) FROM notifications), pruned_seq FROM rowcast.state").fetchone()
    assert row is not None
    return row[0], row[1]


def test_it_tells_first_and_then_does_it(database: str) -> None:
    told = prune(database, "--older-than", "30d", "--dry-run")
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout == "Would delete 1000 rows; clients with a position below 1000 would get a reset.\n"
    assert count(database) == (1001, 0)
    kept = prune(database, "--older-than", "30d", "--keep-unread")
    assert kept.stdout == (
        "Deleted 500 rows, and 1 marks of who viewed rows that are gone; clients with a position below 1000 get a reset.\n"
    )
    assert count(database) == (501, 1000)
    assert prune(database, "--older-than", "960h").stdout.startswith("Deleted 500 rows;")
    assert prune(database, "--older-than", "960h").stdout.startswith("Deleted 0 rows;")
    assert count(database) == (1, 1000)


@pytest.mark.parametrize("wrong", ["soon", "30", "0d", "-3d"])
def test_nonsense_is_refused_with_what_may_be_written(wrong: str) -> None:
    done = prune("postgresql://nobody@127.0.0.1:9/none", f"--older-than={wrong}")
    assert done.returncode == 2
    assert "30d, 12h or 90m" in done.stderr
    assert wrong in done.stderr


def test_its_role_is_enough_and_another_is_not(database: str, databases: Databases) -> None:
    with databases.login("rowcast_pruner") as able, databases.login("rowcast_web") as unable:
        refused = prune(make_conninfo(database, user=unable, password="test"), "--older-than", "30d")
        assert refused.returncode == 1
        assert "GRANT rowcast_pruner TO" in refused.stderr
        assert count(database) == (1001, 0)
        assert prune(make_conninfo(database, user=able, password="test"), "--older-than", "30d").returncode == 0
    assert count(database) == (1, 1000)


def test_what_it_lacks_is_said(databases: Databases) -> None:
    with databases.empty() as url:
        done = prune(url, "--older-than", "30d")
    assert done.returncode == 1
    assert "run `rowcast migrate`" in done.stderr


@pytest.mark.slow
def test_stopped_in_the_middle_it_has_done_what_it_said(databases: Databases) -> None:
    with databases.migrated() as url:
        fill(url, 50_000)
        with psycopg.connect(url, autocommit=True) as sql:
            # Slow enough to be stopped: half a second for each batch.
            sql.execute(
                "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.5); RETURN NULL; END $$;"
                "CREATE TRIGGER slow BEFORE DELETE ON notifications EXECUTE FUNCTION slow()"
            )
            process = subprocess.Popen(
                [sys.executable, "-m", "rowcast", "prune", "--older-than", "30d"],
                env=environment() | {"ROWCAST_DATABASE_URL": url},
                cwd=ROOT,
                stdout=subprocess.PIPE,
                text=True,
            )
            while count(url)[0] > 49_000:
                sql.execute("SELECT pg_sleep(0.02)")
            process.send_signal(signal.SIGINT)
            told, _ = process.communicate(timeout=10)
        assert process.returncode == 1
        rows, gone = count(url)
        assert 0 < 50_001 - rows <= gone < 50_000
        assert told.startswith("Deleted ")
