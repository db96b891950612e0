"""Every way of inserting counts, through to the client's stream."""

from __future__ import annotations

import asyncio
import signal
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import LiteralString

import psycopg
import pytest
from psycopg import sql

from tests.db.databases import Databases
from tests.db.test_partitioning import BEFORE, CONVERT, psql
from tests.event_source import EventSource, open_stream
from tests.rig import Rig

pytestmark = pytest.mark.every_postgres


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param("INSERT INTO notifications (user_id, message) VALUES ({u}, 'a'), ({u}, 'b')", id="INSERT"),
        pytest.param(
            "INSERT INTO notifications (user_id, message) SELECT {u}, m FROM unnest(ARRAY['a', 'b']) m", id="SELECT"
        ),
        pytest.param(
            "INSERT INTO notifications (id, user_id, message) VALUES (DEFAULT, {u}, 'a'), (DEFAULT, {u}, 'b') "
            "ON CONFLICT (id) DO NOTHING",
            id="ON CONFLICT DO NOTHING",
        ),
        pytest.param(
            "INSERT INTO notifications (user_id, message) VALUES ({u}, 'a'), ({u}, 'b') "
            "ON CONFLICT (id) DO UPDATE SET message = 'never'",
            id="ON CONFLICT DO UPDATE",
        ),
        pytest.param(
            "MERGE INTO notifications n USING (VALUES ('a'), ('b')) v (m) ON n.message = v.m AND n.user_id = {u} "
            "WHEN NOT MATCHED THEN INSERT (user_id, message) VALUES ({u}, v.m)",
            id="MERGE",
        ),
        pytest.param(
            "WITH w AS (INSERT INTO notifications (user_id, message) VALUES ({u}, 'a'), ({u}, 'b') RETURNING 1) TABLE w",
            id="CTE",
        ),
        pytest.param(
            "DO $$ BEGIN FOR m IN 1..2 LOOP INSERT INTO public.notifications (user_id, message) VALUES ({u}, chr(96 + m)); "
            "END LOOP; END $$",
            id="DO",
        ),
        pytest.param(
            "SET LOCAL session_replication_role = replica; "
            "INSERT INTO notifications (user_id, message) VALUES ({u}, 'a'), ({u}, 'b')",
            id="session_replication_role replica",
        ),
    ],
)
async def test_statement(stream_url: str, database_url: str, user: int, statement: LiteralString) -> None:
    async with open_stream(stream_url) as stream:
        await stream.live()
        with psycopg.connect(database_url) as session:
            session.execute(sql.SQL(statement).format(u=sql.Literal(user)))
        await stream.receives("a", "b")


async def test_copy(stream_url: str, database_url: str, user: int) -> None:
    async with open_stream(stream_url) as stream:
        await stream.live()
        with (
            psycopg.connect(database_url) as session,
            session.cursor().copy("COPY notifications (user_id, message) FROM STDIN") as copy,
        ):
            for n in range(3000):
                copy.write_row((user, str(n)))
        await stream.until(lambda: len(stream.notifications) >= 3000)
        assert stream.messages == [str(n) for n in range(3000)]


async def test_the_rights_of_rowcast_writer_are_enough(
    stream_url: str, database_url: str, databases: Databases, user: int
) -> None:
    async with open_stream(stream_url) as stream:
        await stream.live()
        with databases.login("rowcast_writer") as name:
            address = psycopg.conninfo.make_conninfo(database_url, user=name, password="test")
            with psycopg.connect(address) as session:
                session.execute("INSERT INTO notifications (user_id, message) VALUES (%s, 'mine')", (user,))
        await stream.receives("mine")


@pytest.mark.slow
async def test_each_part_with_no_more_rights_than_its_role(own: Rig, databases: Databases) -> None:
    """Bridge, web and writer as members of rowcast_bridge, rowcast_web and rowcast_writer."""
    with (
        databases.login("rowcast_bridge") as bridge,
        databases.login("rowcast_web") as web,
        databases.login("rowcast_writer") as writer,
    ):

        def address(name: str) -> str:
            return psycopg.conninfo.make_conninfo(own.database_url, user=name, password="test")

        first = await own.bridge(database_url=address(bridge))
        await first.logged("leader.leading")
        second = await own.bridge(database_url=address(bridge))
        url, served = await own.web(database_url=address(web))
        async with open_stream(f"{url}/events/1") as stream:
            await stream.live()
            with psycopg.connect(address(writer)) as session:
                session.execute("INSERT INTO notifications (user_id, message) VALUES (1, 'hello')")
            await stream.receives("hello")
            await first.kill()
            await second.logged("leader.leading")
            with psycopg.connect(address(writer)) as session:
                session.execute("INSERT INTO notifications (message) VALUES ('to all')")
            await stream.receives("hello", "to all")
        for process in (second, served):
            process.send(signal.SIGTERM)
            assert await process.ended() == 0


@asynccontextmanager
async def _following(own: Rig, user: int = 1) -> AsyncIterator[EventSource]:
    await own.bridge()
    url, _ = await own.web()
    async with open_stream(f"{url}/events/{user}") as stream:
        await stream.live()
        yield stream


@pytest.mark.slow
async def test_a_partition_of_the_table(own: Rig) -> None:
    """The recipe of docs/partitioning.md while Rowcast runs, then rows through the parent and straight into the partition."""
    async with _following(own) as stream:
        await own.insert(1, "before")
        await stream.receives("before")
        for recipe in (BEFORE, CONVERT):
            await asyncio.to_thread(psql, own.database_url, recipe)
        async with own.sql() as session:
            await session.execute("INSERT INTO notifications (user_id, message) VALUES (1, 'through the parent')")
            await stream.receives("before", "through the parent")
            await session.execute("INSERT INTO notifications_p0 (user_id, message) VALUES (1, 'into the partition')")
            await stream.receives("before", "through the parent", "into the partition")


@pytest.mark.slow
async def test_logical_replication_brings_rows_once(own: Rig, databases: Databases) -> None:
    """Initial copy and streaming apply from another database; an UPDATE there does not deliver a row again."""
    name = f"pub_{uuid.uuid4().hex[:8]}"
    with databases.empty() as source_url, psycopg.connect(source_url, autocommit=True) as source:
        source.execute("CREATE TABLE notifications (id bigint PRIMARY KEY, user_id bigint, message text NOT NULL)")
        source.execute("INSERT INTO notifications VALUES (101, 1, 'copied')")
        source.execute(sql.SQL("CREATE PUBLICATION {} FOR TABLE notifications").format(sql.Identifier(name)))
        source.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (name,))
        async with _following(own) as stream, own.sql() as target:
            # The slot is made by hand: CREATE SUBSCRIPTION would wait for itself within one cluster.
            subscribe = sql.SQL("CREATE SUBSCRIPTION {} CONNECTION {} PUBLICATION {} WITH (create_slot = false)")
            await target.execute(subscribe.format(sql.Identifier(name), sql.Literal(source_url), sql.Identifier(name)))
            try:
                await stream.receives("copied", timeout=30)
                source.execute("INSERT INTO notifications VALUES (102, 1, 'streamed')")
                await stream.receives("copied", "streamed", timeout=30)
                source.execute("UPDATE notifications SET message = 'changed' WHERE id = 102")
                source.execute("INSERT INTO notifications VALUES (103, 1, 'last')")
                await stream.receives("copied", "streamed", "last", timeout=30)
            finally:
                await target.execute(sql.SQL("DROP SUBSCRIPTION {}").format(sql.Identifier(name)))
