"""INSERT with any SQL client, event in the browser: the main job, on a running Rowcast."""

from __future__ import annotations

import asyncio
import json
import time

import httpx
import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.event_source import open_stream

pytestmark = pytest.mark.every_postgres


async def test_an_insert_reaches_the_open_stream(stream_url: str, database_url: str, user: int) -> None:
    async with open_stream(stream_url) as stream:
        await stream.live()
        with psycopg.connect(database_url) as sql:
            sql.execute(
                "INSERT INTO notifications (user_id, key, message, channel_type, data) VALUES (%s, 'k', 'hello', 'c', %s)",
                (user, Jsonb({"a": [1]})),
            )
        await stream.receives("hello")
        event = stream.notifications[0]
        assert list(event.json) == ["id", "user_id", "key", "message", "channel_type", "data", "timestamp"]
        assert event.json | {"id": 0, "timestamp": ""} == {
            "id": 0,
            "user_id": user,
            "key": "k",
            "message": "hello",
            "channel_type": "c",
            "data": {"a": [1]},
            "timestamp": "",
        }
        assert event.last_event_id.isdigit()


async def test_the_wire_form_of_a_stream(stream_url: str, database_url: str, user: int) -> None:
    """retry first; data before id, in one block; hello is typed; no notification has an event line."""
    async with open_stream(stream_url) as stream:
        position = await stream.live()
        with psycopg.connect(database_url) as sql:
            sql.execute(
                "INSERT INTO notifications (user_id, message) VALUES (%s, %s)", (user, "a\r\nb\u2028\n\ndata: x")
            )
        await stream.receives("a\r\nb\u2028\n\ndata: x")
        blocks = bytes(stream.raw).decode().split("\n\n")
        assert blocks[0].startswith("retry: ")
        assert blocks[1] == f'data: {{"seq":{position}}}\nevent: hello\nid: {position}'
        data, id_line = blocks[2].split("\n")
        assert data.startswith('data: {"id":')
        assert id_line == f"id: {stream.last_event_id}"


async def test_the_seed_story(web_url: str, stream_url: str, user: int) -> None:
    """The proof of concept's own session: open, write, see, read."""
    async with open_stream(stream_url) as stream, httpx.AsyncClient(base_url=web_url) as http:
        await stream.live()
        key = f"two-{user}"
        assert (await http.get(f"/write/{key}/oranges/{user}")).json() == {"status": "ok"}
        await stream.receives(f"Key '{key}' was updated to 'oranges'")
        assert "timestamp" in stream.notifications[0].json
        row = (await http.get(f"/read/{key}")).json()
        assert {"id", "message", "channel_type", "is_sent", "is_viewed", "created_at", "user_id"} <= set(row)
        assert row["message"] == f"Key '{key}' was updated to 'oranges'"
        assert row["user_id"] == user
        assert row["is_sent"] is True


async def test_a_rolled_back_row_reaches_nobody(stream_url: str, database_url: str, user: int) -> None:
    async with open_stream(stream_url) as stream:
        await stream.live()
        with psycopg.connect(database_url, autocommit=True) as sql:
            with sql.transaction(force_rollback=True):
                sql.execute("INSERT INTO notifications (user_id, message) VALUES (%s, 'never')", (user,))
            with sql.transaction():
                with sql.transaction(force_rollback=True):
                    sql.execute("INSERT INTO notifications (user_id, message) VALUES (%s, 'nor this')", (user,))
                sql.execute("INSERT INTO notifications (user_id, message) VALUES (%s, 'this')", (user,))
        await stream.receives("this")


async def test_transactions_that_commit_in_the_reverse_order_of_their_ids_arrive_in_order_of_commit(
    stream_url: str, database_url: str, user: int
) -> None:
    insert = "INSERT INTO notifications (user_id, message) VALUES (%s, %s) RETURNING id"
    async with open_stream(stream_url) as stream:
        await stream.live()
        with psycopg.connect(database_url) as first, psycopg.connect(database_url) as second:
            early = first.execute(insert, (user, "lower id, later commit")).fetchone()
            late = second.execute(insert, (user, "higher id, earlier commit")).fetchone()
            assert early is not None
            assert late is not None
            assert early < late
            second.commit()
            await stream.receives("higher id, earlier commit")
            first.commit()
        await stream.receives("higher id, earlier commit", "lower id, later commit")


async def test_a_row_for_everyone_reaches_every_user_in_order(
    web_url: str, stream_url: str, database_url: str, user: int
) -> None:
    other = -user
    async with (
        open_stream(stream_url) as mine,
        open_stream(f"{web_url}/events/{other}?since=now") as theirs,
    ):
        await mine.live()
        await theirs.live()
        with psycopg.connect(database_url) as sql:
            sql.execute(
                "INSERT INTO notifications (user_id, message) VALUES (%s, 'one'), (NULL, 'all'), (%s, 'two')",
                (user, user),
            )
        await mine.until(lambda: "two" in mine.messages)
        await theirs.until(lambda: "all" in theirs.messages)
        assert [message for message in mine.messages if message in ("one", "all", "two")] == ["one", "all", "two"]
        assert not {"one", "two"} & set(theirs.messages)


@pytest.mark.parametrize("size", [7_999, 8_000, 100_000, 1_000_000, pytest.param(5_000_000, marks=pytest.mark.slow)])
async def test_rows_larger_than_a_notify_payload_arrive_whole(
    stream_url: str, database_url: str, user: int, size: int
) -> None:
    async with open_stream(stream_url) as stream:
        await stream.live()
        body = "é" * (size // 2)
        with psycopg.connect(database_url) as sql:
            sql.execute("INSERT INTO notifications (user_id, message) VALUES (%s, %s)", (user, body))
        await stream.until(lambda: len(stream.notifications) == 1)
        assert stream.messages == [body]


@pytest.mark.slow
async def test_20_000_rows_inserted_at_once_all_arrive_in_order(stream_url: str, database_url: str, user: int) -> None:
    async with open_stream(stream_url) as stream:
        await stream.live()
        with psycopg.connect(database_url) as sql:
            sql.execute(
                "INSERT INTO notifications (user_id, message) SELECT %s, g::text FROM generate_series(1, 20000) g",
                (user,),
            )
        await stream.until(lambda: len(stream.notifications) >= 20_000, timeout=30)
        assert stream.messages == [str(n) for n in range(1, 20_001)]
        ids = [int(event.last_event_id) for event in stream.notifications]
        assert ids == sorted(set(ids))


async def test_a_stream_without_an_event_resumes_with_what_came_meanwhile(
    stream_url: str, database_url: str, user: int
) -> None:
    """`hello` gives even a fresh `since=now` stream a position to come back with."""
    async with open_stream(stream_url) as stream:
        await stream.live()
    with psycopg.connect(database_url) as sql:
        sql.execute("INSERT INTO notifications (user_id, message) VALUES (%s, 'meanwhile')", (user,))
    async with open_stream(stream_url, last_event_id=stream.last_event_id) as again:
        await again.live()
        assert again.messages == ["meanwhile"]


async def test_values_no_driver_can_parse_arrive_and_hold_nobody_up(
    stream_url: str, database_url: str, user: int
) -> None:
    deep = json.loads("[" * 900 + "]" * 900)
    async with open_stream(stream_url) as stream:
        await stream.live()
        with psycopg.connect(database_url) as sql:
            sql.execute(
                "INSERT INTO notifications (user_id, message, created_at, data) VALUES (%s, 'infinite', 'infinity', %s)",
                (user, Jsonb(deep)),
            )
            sql.execute("INSERT INTO notifications (user_id, message) VALUES (%s, '')", (user,))
        await stream.receives("infinite", "")
        assert stream.notifications[0].json["timestamp"] == "infinity"


async def test_latency_on_loopback(stream_url: str, database_url: str, user: int, record_property: object) -> None:
    """Not a benchmark: only far from what a person would notice. The figures are in docs/performance.md."""
    async with open_stream(stream_url) as stream:
        await stream.live()
        took = []
        async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as sql:
            for n in range(30):
                began = time.perf_counter()
                await sql.execute("INSERT INTO notifications (user_id, message) VALUES (%s, %s)", (user, str(n)))
                await stream.until(lambda n=n: len(stream.notifications) > n)  # type: ignore[misc]
                took.append(time.perf_counter() - began)
        assert sorted(took)[15] < 0.25


async def test_a_hundred_streams_of_one_user_all_get_it(stream_url: str, database_url: str, user: int) -> None:
    async with asyncio.timeout(60):
        async with asyncio.TaskGroup() as tasks:
            opened: list[asyncio.Task[list[str]]] = []
            connected = asyncio.Semaphore(0)

            async def watch() -> list[str]:
                async with open_stream(stream_url) as stream:
                    await stream.live()
                    connected.release()
                    await stream.until(lambda: bool(stream.messages), timeout=60)
                    return stream.messages

            for _ in range(100):
                opened.append(tasks.create_task(watch()))
            for _ in range(100):
                await connected.acquire()
            with psycopg.connect(database_url) as sql:
                sql.execute("INSERT INTO notifications (user_id, message) VALUES (%s, 'to all tabs')", (user,))
        assert [task.result() for task in opened] == [["to all tabs"]] * 100
