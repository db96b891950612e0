"""The writers of `rowcast bench` on a real Postgres: on time, and honest about it when they can't be."""

from __future__ import annotations

import threading
import time

import psycopg
import pytest

from db.queries import query
from rowcast.bench.load.sessions import Sessions, WriteError
from rowcast.bench.load.writer import Work, writers
from rowcast.bench.reckoning import NS, due_times
from tests.db.databases import Databases
from tests.rowcast.ups import eventually

INSERT = query("bench_insert").as_bytes(None)


def ready(url: str, count: int) -> Sessions:
    made = Sessions(url, count)
    made.use(INSERT)
    return made


def test_a_row_that_could_not_be_sent_in_time_says_when_it_was_due(databases: Databases) -> None:
    """One session, five rows 10 ms apart, a lock on the table meanwhile: all are committed, and each carries the time it was due."""
    with databases.migrated() as url, psycopg.connect(url) as locking:
        sessions = ready(url, 1)
        locking.execute("LOCK TABLE notifications IN EXCLUSIVE MODE")
        due = due_times(time.monotonic_ns(), 100, 5)
        done: list[tuple[int, int, int]] = []
        writing = threading.Thread(
            target=lambda: done.extend(sessions.on_time(due, lambda number: [b"1", b"%d" % due[number]]))
        )
        writing.start()
        eventually(lambda: time.monotonic_ns() > due[-1])
        locking.rollback()
        writing.join(10)
        sessions.close()
        assert [number for number, _, _ in done] == [0, 1, 2, 3, 4]
        assert all(sent > due[-1] for number, sent, _ in done if number), "they had to wait for the first"
        rows = locking.execute("SELECT message FROM notifications ORDER BY id").fetchall()
    assert [int(message) for (message,) in rows] == due


def test_no_row_is_sent_before_it_is_due(databases: Databases) -> None:
    with databases.migrated() as url:
        sessions = ready(url, 2)
        due = due_times(time.monotonic_ns() + NS // 100, 200, 10)
        done = sessions.on_time(due, lambda _: [b"1", b"x"])
        sessions.close()
    assert sorted(number for number, _, _ in done) == list(range(10))
    assert all(due[number] <= sent < ended for number, sent, ended in done)


def test_writers_commit_what_they_say_they_did(databases: Databases) -> None:
    with databases.migrated() as url:
        work = Work(url, 2, [1, 2], seconds=0.1)
        with writers(work, work) as both:
            first, second = both.write("bench_insert"), both.write("bench_insert")
        with psycopg.connect(url) as sql:
            counted = sql.execute("SELECT count(*), count(DISTINCT user_id) FROM notifications").fetchone()
    assert counted == (len(first) + len(second), 2)
    assert first
    assert second


def test_an_insert_that_fails_ends_the_measurement(databases: Databases) -> None:
    with databases.migrated() as url:
        sessions = ready(url, 1)
        with pytest.raises(WriteError, match="null value"):
            sessions.on_time([time.monotonic_ns()], lambda _: [b"1", None])
        sessions.close()
