"""The bridge's statements beside the claim: reading a range back, the doorbell, transaction ids; and borrowing from the pool."""

from __future__ import annotations

import asyncio
import json

import psycopg
import pytest

from core.errors import StaleReadError
from core.events import NOTIFICATION, Event, Range
from db import outbox
from db.connect import Connection, DatabaseConfig, borrow, open_pool
from db.outbox import NOTHING_HELD, SOURCES, claim, read_range
from tests.db.rows import EVERYONE, insert
from tests.waiting import turns

[NOTIFICATIONS] = SOURCES


async def read(bridge: Connection, start: int, end: int) -> list[Event]:
    return [event async for event in read_range(bridge, NOTIFICATIONS, Range(start, end))]


async def stamp(bridge: Connection) -> None:
    await claim(bridge, NOTIFICATIONS, NOTHING_HELD, batch=1000)


async def test_a_range_is_read_from_above_its_start_to_its_end_in_order(bridge: Connection) -> None:
    """Rule 1.8: seq > from AND seq <= to ORDER BY seq."""
    await insert(bridge, 1, 2, EVERYONE, 1)
    await stamp(bridge)
    events = await read(bridge, 1, 3)
    assert [(event.seq, event.kind, event.user_id) for event in events] == [
        (2, NOTIFICATION, "2"),
        (3, NOTIFICATION, None),
    ]
    assert await read(bridge, 4, 4) == []
    assert len(await read(bridge, 0, 4)) == 4


async def test_rows_deleted_before_they_were_read_are_simply_not_there(bridge: Connection) -> None:
    await insert(bridge, 1, 1)
    await stamp(bridge)
    await bridge.execute("DELETE FROM notifications WHERE seq = 1")
    assert [event.seq for event in await read(bridge, 0, 2)] == [2]
    await bridge.execute("DELETE FROM notifications")
    assert await read(bridge, 0, 2) == []


async def test_a_server_that_has_not_got_that_far_is_not_believed(bridge: Connection) -> None:
    """Rule 1.8: the same statement returns last_seq; below `to`, nothing of the range is sent or marked."""
    await insert(bridge, 1)
    await stamp(bridge)
    with pytest.raises(StaleReadError):
        await read(bridge, 0, 2)


@pytest.mark.parametrize("created_at", ["infinity", "-infinity", "0044-03-15 BC", "294276-12-31 23:59:59"])
async def test_no_value_of_a_row_can_stop_the_bridge(bridge: Connection, created_at: str) -> None:
    """Rule 1.8: it parses none. [T: created_at = 'infinity' raised in the driver, in each new leader again.]"""
    await bridge.execute(
        "INSERT INTO notifications (user_id, message, created_at, data, key) "
        "VALUES (1, %s, %s, '{\"n\": 1e400, \"deep\": [[[]]]}', '')",
        ("a\n\u2028\x01", created_at),
    )
    await stamp(bridge)
    [event] = await read(bridge, 0, 1)
    assert "\n" not in event.body
    body = json.loads(event.body)
    assert list(body) == ["id", "user_id", "key", "message", "channel_type", "data", "timestamp"]
    assert body["message"] == "a\n\u2028\x01"


async def doorbell(sql: Connection) -> int:
    row = await (await sql.execute("SELECT last_value FROM rowcast.doorbell")).fetchone()
    assert row is not None
    return int(row[0])


async def test_the_doorbells_mark_is_seen_at_once_by_transactions_already_running(
    bridge: Connection, connection: Connection
) -> None:
    """setval is not transactional: a writer whose snapshot is older sees it all the same."""
    await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    assert await doorbell(connection) == 0
    await outbox.set_doorbell(bridge, outbox.WAITING)
    assert await doorbell(connection) == 1
    await outbox.set_doorbell(bridge, outbox.BUSY)
    assert await doorbell(connection) == 0


async def test_setting_the_doorbell_leaves_the_claims_commits_synchronous(bridge: Connection) -> None:
    """Rule 1.1: a claim's commit is synchronous; rule 6.4: the doorbell's mark is not."""
    await bridge.execute("SET synchronous_commit = on")
    await outbox.set_doorbell(bridge, outbox.WAITING)
    assert await (await bridge.execute("SHOW synchronous_commit")).fetchone() == ("on",)


async def test_an_xid_of_our_own_is_above_every_writers_and_xmin_rises_above_it_once_they_ended(
    bridge: Connection, database: str
) -> None:
    """Rule 6.2, facts 0.13: xmin > B is false while an older writer runs and true once it has ended."""
    async with await psycopg.AsyncConnection.connect(database) as writer:
        await insert(writer, 1)
        own = await outbox.own_xid(bridge)
        assert await outbox.oldest_running(bridge) < own
        await writer.commit()
    # Somebody else's transaction on this server may hold it down for a moment.
    async with asyncio.timeout(10):
        while await outbox.oldest_running(bridge) <= own:
            pass


async def test_a_cancelled_borrower_ends_even_if_it_is_just_being_given_a_connection(database: str) -> None:
    """Python 3.11's asyncio.wait_for, inside the pool, can swallow a cancellation: its task would never end."""
    async with open_pool(DatabaseConfig(database, pool_size=1), name="test") as pool:

        async def hold_for_ever() -> None:
            async with borrow(pool, doing="testing"):
                await asyncio.Event().wait()

        for delay in range(40):
            async with borrow(pool, doing="testing"):
                waiting = asyncio.ensure_future(hold_for_ever())
                await turns(10)
            await turns(delay)
            waiting.cancel()
            done, _ = await asyncio.wait({waiting}, timeout=1)
            if not done:
                waiting.cancel()
                await asyncio.wait({waiting})
                pytest.fail(f"the cancellation was swallowed, {delay} turns after a connection came free")
            assert waiting.cancelled()
