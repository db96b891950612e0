"""Whole bridges on real servers: one leads, the others wait, and nothing is stamped twice or forgotten (protocol.md 2)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
import pytest

from bridge.config import BridgeConfig
from bridge.service import Bridge, Role
from core.clock import SystemClock
from db.connect import Connection
from db.locks import LEADER, NAMESPACE
from fanout.buckets import Buckets
from fanout.connection import RedisConfig, open_connection
from fanout.messages import decode_mark, decode_message
from rowcast.embedded import Server
from tests.db.rows import in_order, insert
from tests.fanout.listening import heard, subscribe
from tests.rig import free_port
from tests.waiting import running, until


@asynccontextmanager
async def bridging(database: str, redis_url: str, prefix: str = "b") -> AsyncIterator[Bridge]:
    bridge = Bridge(BridgeConfig(database, poll_interval=60), RedisConfig(redis_url), prefix, SystemClock())
    async with running(bridge.run()) as [work]:
        yield bridge
        bridge.stop()
        async with asyncio.timeout(5):
            await work


async def leads(bridge: Bridge) -> None:
    await until(lambda: bridge.role is Role.LEADER)


async def stamped(sql: Connection, count: int) -> None:
    async def are() -> bool:
        return len(await in_order(sql)) == count

    await until(are)


async def seqs(sql: Connection) -> list[int]:
    return [seq for (seq,) in await (await sql.execute("SELECT seq FROM notifications ORDER BY id")).fetchall()]


async def test_a_row_is_stamped_and_published_with_its_mark(database: str, sql: Connection, valkey: Server) -> None:
    """Rule 2.4: the first thing published in a term is the mark {last_seq as it was, start}."""
    await sql.execute("UPDATE rowcast.state SET last_seq = 7")
    names = Buckets(1, "whole")
    async with open_connection(RedisConfig(valkey.url), name="test") as raw:
        await subscribe(raw, names.marks(0), names.user("1"))
        async with bridging(database, valkey.url, "whole") as bridge:
            await leads(bridge)
            [(channel, payload)] = await heard(raw, 1)
            first = decode_mark(payload)
            assert channel == names.marks(0)
            assert first.start == 7
            assert first.end % 1_000_000 == 0
            await insert(sql, 1)
            position = first.end
            while True:
                [(channel, payload)] = await heard(raw, 1)
                if channel != names.marks(0):
                    break
                assert decode_mark(payload).start == decode_mark(payload).end == position
            message = decode_message(payload)
            assert (message.start, message.event.seq, message.event.user_id) == (position, position + 1, "1")
            [(channel, payload)] = await heard(raw, 1)
            assert (decode_mark(payload).start, decode_mark(payload).end) == (position, position + 1)
            await until(lambda: bridge.ready() == dict.fromkeys(("postgres", "listen", "read", "redis"), "ok"))


async def test_of_two_bridges_one_stamps_and_the_other_takes_over(
    database: str, sql: Connection, valkey: Server
) -> None:
    async with bridging(database, valkey.url) as first:
        await leads(first)
        async with bridging(database, valkey.url) as second:
            await until(lambda: second.role is Role.FOLLOWER)
            await insert(sql, *range(30))
            await stamped(sql, 30)
            assert (first.role, second.role) == (Role.LEADER, Role.FOLLOWER)
            listeners = await sql.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'rowcast-listen' AND datname = current_database()"
            )
            assert await listeners.fetchone() == (1,), "rule 2.3: a standby does not LISTEN"
            first.stop()
            await leads(second)
            await insert(sql, *range(30))
            await stamped(sql, 60)
            found = await seqs(sql)
            assert found == sorted(set(found)), "rule 2.4: every seq of a term is above all that went before"
            assert found[30] > found[29] + 1


async def test_a_leader_that_lost_its_session_leads_again_in_a_new_term(
    database: str, sql: Connection, valkey: Server
) -> None:
    """Rule 2.1: lock, claim and doorbell go with the one session."""
    async with bridging(database, valkey.url) as bridge:
        await leads(bridge)
        await insert(sql, 1)
        await stamped(sql, 1)
        for count in (2, 3):
            await sql.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'rowcast-claim' AND datname = current_database()"
            )
            await insert(sql, 1)
            await stamped(sql, count)
        found = await seqs(sql)
        assert [seq // 1_000_000 for seq in found] == sorted({seq // 1_000_000 for seq in found})


async def test_who_lost_the_lock_stamps_nothing_more(database: str, sql: Connection, valkey: Server) -> None:
    """Rule 2.1: the session that holds the lock is the session that claims; losing the one is losing the other."""
    lock = "SELECT pg_advisory_lock(%s, %s)"
    async with bridging(database, valkey.url) as bridge, await psycopg.AsyncConnection.connect(database) as rival:
        await leads(bridge)
        async with running(rival.execute(lock, (NAMESPACE, LEADER))) as [taking]:
            await until(lambda: _end_the_leader_once_somebody_waits(sql))
            await taking
            await insert(sql, 1)

            async def gave_up_or_went_on() -> bool:
                return bridge.role is Role.FOLLOWER or bool(await in_order(sql))

            await until(gave_up_or_went_on)
            assert await in_order(sql) == []
        await rival.execute("SELECT pg_advisory_unlock(%s, %s)", (NAMESPACE, LEADER))
        await stamped(sql, 1)


async def _end_the_leader_once_somebody_waits(sql: Connection) -> bool:
    done = await sql.execute(
        """
        WITH locks AS MATERIALIZED (
            SELECT pid, granted FROM pg_locks WHERE locktype = 'advisory' AND classid = %s AND objid = %s
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        )
        SELECT pg_terminate_backend(pid) FROM locks WHERE granted AND EXISTS (SELECT FROM locks WHERE NOT granted)
        """,
        (NAMESPACE, LEADER),
    )
    return bool(await done.fetchall())


async def test_a_new_terms_first_mark_begins_where_the_last_range_ended(
    database: str, sql: Connection, valkey: Server
) -> None:
    """Rule 2.4: not where it ended when the follower came. [M: a mark from an older position made hubs jump: 238 of 500.]"""
    names = Buckets(1, "terms")
    async with open_connection(RedisConfig(valkey.url), name="test") as raw:
        await subscribe(raw, names.marks(0))
        async with bridging(database, valkey.url, "terms") as first:
            await leads(first)
            async with bridging(database, valkey.url, "terms") as second:
                await until(lambda: second.role is Role.FOLLOWER)
                await insert(sql, *range(5))
                await stamped(sql, 5)
                first.stop()
                await leads(second)
                position = None
                terms = 0
                while terms < 2:
                    [(_, payload)] = await heard(raw, 1)
                    mark = decode_mark(payload)
                    terms += mark.end % 1_000_000 == 0 and mark.start < mark.end
                    assert position in (None, mark.start)
                    position = mark.end


async def test_the_loss_of_any_one_session_loses_no_row(database: str, sql: Connection, valkey: Server) -> None:
    async with bridging(database, valkey.url) as bridge:
        await leads(bridge)
        for count, name in enumerate(["rowcast-listen", "rowcast-read", "rowcast-claim"] * 2, 1):
            await sql.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s AND datname = current_database()",
                (name,),
            )
            await insert(sql, 1)
            await stamped(sql, count)


async def test_without_redis_the_leader_goes_on_stamping(database: str, sql: Connection) -> None:
    """Rule 2.5: bodies are dropped; the next `from` shows the hole."""
    async with bridging(database, f"redis://127.0.0.1:{free_port()}") as bridge:
        await leads(bridge)
        await insert(sql, *range(20))
        await stamped(sql, 20)
        assert bridge.ready()["redis"] != "ok"


async def test_a_bridge_that_leaves_gives_up_the_lock_at_once_and_rings_nobodys_bell(
    database: str, sql: Connection, valkey: Server
) -> None:
    """Rule 6.4; and whoever is next need not wait for a timeout."""
    async with bridging(database, valkey.url) as bridge:
        await leads(bridge)
        await until(lambda: _mark(sql, 1))
    free = await sql.execute("SELECT pg_try_advisory_lock(%s, %s)", (NAMESPACE, LEADER))
    assert await free.fetchone() == (True,)
    assert await _mark(sql, 0)


async def _mark(sql: Connection, value: int) -> bool:
    return await (await sql.execute("SELECT last_value FROM rowcast.doorbell")).fetchone() == (value,)


async def test_a_follower_leaves_at_once(database: str, sql: Connection, valkey: Server) -> None:
    await sql.execute("SELECT pg_advisory_lock(%s, %s)", (NAMESPACE, LEADER))
    async with bridging(database, valkey.url) as bridge:
        await until(lambda: bridge.role is Role.FOLLOWER)
        await until(lambda: bridge.ready() == {"postgres": "ok"})


async def test_a_leader_is_ready_while_its_claims_succeed(database: str, sql: Connection, valkey: Server) -> None:
    """What keeps them from it stands in /readyz until one has succeeded again, however often the session is made anew meanwhile."""
    trigger = "BEGIN RAISE 'not this one'; END"
    async with bridging(database, valkey.url) as bridge:
        await until(lambda: set(bridge.ready().values()) == {"ok"})
        await sql.execute(
            f"CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ {trigger} $$;"
            "CREATE TRIGGER refuse BEFORE UPDATE ON notifications FOR EACH ROW EXECUTE FUNCTION refuse()"
        )
        await insert(sql, 1)
        await until(lambda: "not this one" in bridge.ready()["postgres"])
        for role in (Role.LEADER, Role.CONNECTING, Role.LEADER):
            await until(lambda role=role: bridge.role is role)  # type: ignore[misc]
            assert "not this one" in bridge.ready()["postgres"]
        await sql.execute("DROP TRIGGER refuse ON notifications")
        await until(lambda: set(bridge.ready().values()) == {"ok"})


async def test_a_follower_holds_back_no_vacuum(database: str, sql: Connection, valkey: Server) -> None:
    """Rule 2.3: it asks outside any transaction. [T: waiting in pg_advisory_lock stops vacuum in the whole database.]"""
    await sql.execute("SELECT pg_advisory_lock(%s, %s)", (NAMESPACE, LEADER))
    async with bridging(database, valkey.url) as bridge:
        await until(lambda: bridge.role is Role.FOLLOWER)

        async def idle() -> bool:
            row = await sql.execute(
                "SELECT bool_and(state = 'idle' AND backend_xmin IS NULL) FROM pg_stat_activity "
                "WHERE application_name = 'rowcast-claim' AND datname = current_database()"
            )
            return await row.fetchone() == (True,)

        await until(idle)


@pytest.mark.slow
async def test_a_leader_that_hangs_in_a_statement_is_ended_by_a_follower(
    database: str, sql: Connection, valkey: Server
) -> None:
    """Rule 2.2: busy or blocked with the same query for 10 s."""
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as hanging:
        await hanging.execute("SELECT pg_advisory_lock(%s, %s)", (NAMESPACE, LEADER))

        async def hang() -> None:
            with pytest.raises(psycopg.Error):
                await hanging.execute("SELECT pg_sleep(60)")

        async with running(hang()), bridging(database, valkey.url) as bridge:
            await until(lambda: bridge.role is Role.LEADER, timeout=25)
