"""What users' transactions do to each other and to delivery: rows 10, 11, 15 and 35 of the fault matrix in docs/delivery.md."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import psycopg
import pytest

from tests.event_source import EventSource, open_stream
from tests.promises.load import under_load
from tests.promises.probe import delivery
from tests.rig import Process, Rig
from tests.waiting import until
from tests.wire import Wire, wire
from tests.wire_connection import Direction

INSERT = "INSERT INTO notifications (user_id, message) VALUES (%s, %s)"
# Seconds that a user whom a fault doesn't concern may wait for a row, on a machine that runs other tests beside this one.
PROMPT = 1.0
# Seconds that a transaction is held open: longer than the bridge's poll takes to slow down to its longest.
HELD = 3.0


@asynccontextmanager
async def following(own: Rig, *users: int) -> AsyncIterator[tuple[Process, list[EventSource]]]:
    """A bridge that leads and a live stream of each user."""
    bridge = await own.bridge()
    await bridge.logged("leader.leading")
    url, _ = await own.web()
    async with open_stream(f"{url}/events/{users[0]}") as first, open_stream(f"{url}/events/{users[-1]}") as last:
        for stream in (first, last):
            await stream.live()
        yield bridge, [first, last]


@pytest.mark.slow
@pytest.mark.parametrize("left", ["writing", "idle in transaction"])
async def test_a_transaction_that_began_first_and_commits_last_delays_only_itself(own: Rig, left: str) -> None:
    """Row 10: the lowest xid and the lowest id of all, committed after hundreds of later rows."""
    async with following(own, 1, 2) as (_, [one, two]), own.sql() as old:
        await old.execute("BEGIN")
        await old.execute(INSERT, (1, "begun first"))
        written = []
        async for number in _for_seconds(HELD):
            if left == "writing":
                written.append(str(number))
                await old.execute(INSERT, (1, str(number)))
            assert await delivery(own, two, 2, rows=3) < PROMPT
        await own.insert(1, "begun later")
        await one.receives("begun later")
        await old.execute("COMMIT")
        await one.receives("begun later", "begun first", *written, timeout=PROMPT + 1)


async def _for_seconds(seconds: float) -> AsyncIterator[int]:
    began, number = time.monotonic(), 0
    while time.monotonic() - began < seconds:
        yield number
        number += 1


@pytest.mark.slow
async def test_nothing_of_an_abort_arrives_whatever_caused_it(own: Rig) -> None:
    """Row 11: statement_timeout, a deadlock's victim, an error in a function, a savepoint, a session that was ended."""
    async with following(own, 1, 1) as (_, [stream, _]):
        await own.insert(1, "before")
        async with own.sql() as sql:
            with pytest.raises(psycopg.errors.QueryCanceled):
                await sql.execute(
                    "SET statement_timeout = '200ms'; INSERT INTO notifications (user_id, message) VALUES (1, 'late'); SELECT pg_sleep(9)"
                )
            await sql.execute("RESET statement_timeout")
            with pytest.raises(psycopg.errors.DivisionByZero):
                await sql.execute(
                    "WITH w AS (INSERT INTO notifications (user_id, message) VALUES (1, 'divided') RETURNING id) SELECT id / 0 FROM w"
                )
            await sql.execute("BEGIN")
            await sql.execute(INSERT, (1, "kept"))
            await sql.execute("SAVEPOINT s")
            await sql.execute(INSERT, (1, "taken back"))
            await sql.execute("ROLLBACK TO s")
            await sql.execute("COMMIT")
        await _end_a_session_that_inserted(own)
        await _deadlock(own, "victim or survivor")
        await own.insert(1, "after")
        await stream.receives("before", "kept", "victim or survivor", "after")


async def _end_a_session_that_inserted(own: Rig) -> None:
    async with own.sql() as sql, await psycopg.AsyncConnection.connect(own.database_url) as ended:
        await ended.execute(INSERT, (1, "ended"))
        await sql.execute("SELECT pg_terminate_backend(%s)", (ended.info.backend_pid,))
        with pytest.raises(psycopg.OperationalError):
            await ended.commit()


async def _deadlock(own: Rig, message: str) -> None:
    """Two transactions insert the same text and then wait for each other, so that one of them aborts."""
    async with own.sql() as sql:
        await sql.execute("CREATE TABLE pair (id int PRIMARY KEY); INSERT INTO pair VALUES (1), (2)")
    ends = await asyncio.gather(_lock_both(own, message, 1, 2), _lock_both(own, message, 2, 1))
    assert sorted(ends) == ["aborted", "committed"]


async def _lock_both(own: Rig, message: str, first: int, then: int) -> str:
    async with await psycopg.AsyncConnection.connect(own.database_url) as sql:
        await sql.execute("SET LOCAL deadlock_timeout = '100ms'")
        await sql.execute(INSERT, (1, message))
        await sql.execute("SELECT FROM pair WHERE id = %s FOR UPDATE", (first,))
        async with own.sql() as watching:
            await until(lambda: _locked(watching, then))
        try:
            await sql.execute("SELECT FROM pair WHERE id = %s FOR UPDATE", (then,))
        except psycopg.errors.DeadlockDetected:
            await sql.rollback()
            return "aborted"
        await sql.commit()
        return "committed"


async def _locked(sql: psycopg.AsyncConnection[tuple[Any, ...]], row: int) -> bool:
    rows = await sql.execute("SELECT FROM pair WHERE id = %s FOR UPDATE SKIP LOCKED", (row,))
    return await rows.fetchone() is None


@pytest.mark.slow
async def test_a_client_cut_off_in_any_byte_of_its_commit_leaves_a_row_on_the_stream_or_in_neither_place(
    own: Rig,
) -> None:
    """Row 11: what it sends and what it is answered, cut after each byte in turn. The table tells what was committed."""
    async with following(own, 1, 1) as (_, [stream, _]), wire(own.database_url) as cut:
        told = {message async for message in _commit_and_be_cut(cut)}
        await own.insert(1, "last")
        await stream.until(lambda: stream.messages[-1:] == ["last"])
        async with own.sql() as sql:
            rows = await (await sql.execute("SELECT message FROM notifications ORDER BY seq")).fetchall()
        assert stream.messages == [message for (message,) in rows]
        assert told < set(stream.messages) - {"last"}, "some were committed without the client's knowing"


async def _commit_and_be_cut(cut: Wire) -> AsyncIterator[str]:
    """The messages whose COMMIT was answered."""
    ways: tuple[tuple[Direction, int], ...] = (("up", 120), ("down", 70))
    for direction, length in ways:
        for after in range(1, length):
            message = f"cut after {after:03} {direction}"
            cut.heal()
            async with await psycopg.AsyncConnection.connect(cut.url, autocommit=True) as sql:
                cut.cut_after(after, direction)
                with suppress(psycopg.OperationalError):
                    await sql.execute("BEGIN")
                    await sql.execute(f"INSERT INTO notifications (user_id, message) VALUES (1, '{message}')")
                    await sql.execute("COMMIT")
                    yield message


@pytest.mark.slow
async def test_transactions_for_many_users_in_opposite_orders_never_deadlock_over_us(own: Rig) -> None:
    """Row 15: and whoever marks their rows as viewed at once, in whatever order, waits for no more than the other."""
    await own.bridge()
    url, _ = await own.web()
    async with under_load(own, url) as load:
        async with asyncio.TaskGroup() as tasks:
            for number in range(8):
                users = (1, 2, 3) if number % 2 else (3, 2, 1)
                tasks.create_task(_insert_and_view(own, f"writer {number}", users))
        await load.flows()
        load.writer.unharmed()
    for stream in load.streams:
        for number in range(8):
            own_rows = [
                event.json["key"] for event in stream.notifications if event.json["message"] == f"writer {number}"
            ]
            assert own_rows == sorted(own_rows), "one writer's rows are out of order"


async def _insert_and_view(own: Rig, name: str, users: tuple[int, ...], *, transactions: int = 40) -> None:
    """Rows for all users in one transaction, then is_viewed set on them in the next, in reverse: any error is the test's."""
    async with await psycopg.AsyncConnection.connect(own.database_url) as sql:
        for number in range(transactions):
            ids: list[Any] = []
            for user in users:
                row = await sql.execute(
                    "INSERT INTO notifications (user_id, key, message) VALUES (%s, %s, %s) RETURNING id",
                    (user, f"{number:04}", name),
                )
                ids += await row.fetchone() or ()
            await sql.commit()
            for id_ in reversed(ids):
                await sql.execute("UPDATE notifications SET is_viewed = true WHERE id = %s", (id_,))
            await sql.commit()


@pytest.mark.slow
async def test_a_transaction_that_keeps_new_rows_locked_delays_their_users_only(own: Rig) -> None:
    """Row 35: rows that were committed but not stamped, locked by UPDATE and by SELECT FOR UPDATE, for some seconds."""
    async with following(own, 1, 2) as (bridge, [one, two]), own.sql() as locking:
        bridge.send(signal.SIGSTOP)
        await own.insert(1, "locked", "behind it")
        await own.insert(3, "locked as well")
        await locking.execute("BEGIN")
        await locking.execute("UPDATE notifications SET is_viewed = true WHERE message = 'locked'")
        await locking.execute("SELECT FROM notifications WHERE message = 'locked as well' FOR UPDATE")
        bridge.send(signal.SIGCONT)
        async for _ in _for_seconds(HELD):
            assert await delivery(own, two, 2, rows=5) < PROMPT
        await own.insert(1, "last")
        assert one.messages == []
        await locking.execute("COMMIT")
        await one.receives("locked", "behind it", "last", timeout=PROMPT + 1)


@pytest.mark.slow
async def test_repeatable_read_clients_get_a_40001_as_documented_and_nobody_else_notices(own: Rig) -> None:
    """Row 35: an UPDATE of a row that was stamped after the transaction's snapshot; tried again, as such transactions must, it succeeds."""
    await own.bridge()
    url, _ = await own.web()
    async with under_load(own, url) as load, await psycopg.AsyncConnection.connect(own.database_url) as sql:
        await sql.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)
        ends: Counter[str] = Counter()
        async with asyncio.timeout(30):
            while min(ends["viewed"], ends["40001"]) < 20:
                ends[await _view_the_newest(sql)] += 1
        assert ends.keys() == {"viewed", "40001"}
        await load.flows()
        load.writer.unharmed()


async def _view_the_newest(sql: psycopg.AsyncConnection[tuple[Any, ...]]) -> str:
    try:
        async with sql.transaction():
            found = await sql.execute("SELECT id FROM notifications ORDER BY id DESC LIMIT 3")
            ids = [id_ for (id_,) in await found.fetchall()]
            await sql.execute("SELECT pg_sleep(0.002)")  # the bridge needs about as long
            await sql.execute("UPDATE notifications SET is_viewed = true WHERE id = ANY (%s)", (ids,))
    except psycopg.errors.SerializationFailure as error:
        return str(error.sqlstate)
    return "viewed"
