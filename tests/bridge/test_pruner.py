"""The leader's pruner: only the leader prunes, and nothing about it touches stamping."""

from __future__ import annotations

import asyncio

import pytest

from bridge import pruner as module
from bridge.config import BridgeConfig
from bridge.pruner import Pruner
from bridge.service import Bridge
from core.clock import SystemClock
from db.connect import Connection
from db.outbox import NOTHING_HELD, SOURCES, claim
from db.pruning import Rules
from fanout.connection import RedisConfig
from rowcast.embedded import Server
from tests.bridge.test_service import leads
from tests.clocks import HandClock, QuickClock
from tests.db.rows import in_order, insert
from tests.waiting import running, until

RULES = Rules(86400.0)


async def add_old(sql: Connection, claiming: Connection, count: int) -> None:
    """Rows of the day before yesterday, stamped."""
    await sql.execute(
        f"INSERT INTO notifications (user_id, message, created_at) SELECT 1, 'x', now() - interval '2 days' FROM generate_series(1, {count})".encode()
    )
    await claim(claiming, SOURCES[0], NOTHING_HELD, batch=100_000)


async def rows(sql: Connection) -> int:
    row = await (await sql.execute("SELECT count(*) FROM notifications")).fetchone()
    assert row is not None
    return int(row[0])


async def until_rows(sql: Connection, count: int) -> None:
    async def are() -> bool:
        return await rows(sql) == count

    await until(are)


async def test_round_after_round_what_became_old_goes(database: str, sql: Connection, claiming: Connection) -> None:
    clock = HandClock()
    await add_old(sql, claiming, 3)
    async with running(Pruner(database, RULES, clock).run(), _time_passes(clock)):
        await until_rows(sql, 0)
        await add_old(sql, claiming, 2)
        await until_rows(sql, 0)
    assert max(clock.slept) == pytest.approx(864 * 0.95), "a hundredth of the limit, jittered"


async def test_a_round_that_failed_is_not_the_last_for_an_hour(
    database: str, sql: Connection, claiming: Connection
) -> None:
    """A claim that waits for a standby keeps a lock for longer than a pruner waits for one."""
    clock = HandClock()
    await add_old(sql, claiming, 3)
    rules = Rules(86400.0)
    async with sql.transaction():
        await sql.execute("SELECT FROM rowcast.state FOR UPDATE")
        async with running(Pruner(database, rules, clock).run()):
            await until(lambda: bool(clock.slept))
            assert clock.slept == [pytest.approx(module.AGAIN * 0.95)]


async def _time_passes(clock: HandClock) -> None:
    while True:
        await asyncio.sleep(0.01)
        clock.advance(1000)


@pytest.mark.parametrize(("older_than", "pause"), [(30.0, 1.0), (43200.0, 432.0), (30 * 86400.0, 3600.0)])
def test_how_often_a_round_begins(older_than: float, pause: float) -> None:
    assert Pruner("", Rules(older_than), HandClock())._pause == pause


async def test_only_the_leader_prunes_and_who_takes_over_goes_on(
    database: str, sql: Connection, claiming: Connection, valkey: Server
) -> None:
    """The one that waits has no session for it."""
    first, second = (
        Bridge(BridgeConfig(database, retention=RULES), RedisConfig(valkey.url), "p", SystemClock()) for _ in range(2)
    )
    await add_old(sql, claiming, 10)
    async with running(first.run()) as [work]:
        await leads(first)
        async with running(second.run()):
            await until_rows(sql, 0)
            await add_old(sql, claiming, 10)
            first.stop()
            await work
            await leads(second)
            await until_rows(sql, 0)


@pytest.mark.slow
async def test_what_was_viewed_of_rows_that_are_gone_goes_once_a_day(database: str, sql: Connection) -> None:
    """Every entry is looked at for it."""
    clock = QuickClock()
    began = clock.now()
    async with running(Pruner(database, RULES, clock).run()):
        for day in range(3):
            await sql.execute("INSERT INTO rowcast.viewed VALUES (1, 99)")
            await until(lambda: _viewed(sql, 0))
            assert clock.now() - began >= 86400 * day


async def _viewed(sql: Connection, count: int) -> bool:
    return await (await sql.execute("SELECT count(*) FROM rowcast.viewed")).fetchone() == (count,)


async def test_whatever_keeps_it_from_pruning_stamping_goes_on(
    database: str, sql: Connection, claiming: Connection, valkey: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A foreign key, a trigger that raises, its session ended, the table locked by somebody."""
    monkeypatch.setattr(module, "LATEST", 0.05)
    await add_old(sql, claiming, 10)
    await sql.execute("CREATE TABLE orders AS SELECT id FROM notifications")
    await sql.execute("ALTER TABLE orders ADD FOREIGN KEY (id) REFERENCES notifications")
    bridge = Bridge(BridgeConfig(database, retention=RULES), RedisConfig(valkey.url), "p", SystemClock())
    async with running(bridge.run()):
        await leads(bridge)
        for count in range(11, 30):
            await insert(sql, 1)
            await until(lambda count=count: _stamped(sql, count))  # type: ignore[misc]
            await sql.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'rowcast-prune' AND datname = current_database()"
            )
        assert await rows(sql) == 29
        assert await terms(sql) == 1, "and the same leader leads"
        await sql.execute("DROP TABLE orders")
        await until_rows(sql, 19)


async def _stamped(sql: Connection, count: int) -> bool:
    return len(await in_order(sql)) == count


async def terms(sql: Connection) -> int:
    """How many there were."""
    row = await (await sql.execute("SELECT count(*) FROM rowcast.terms")).fetchone()
    assert row is not None
    return int(row[0])


async def test_a_frozen_pruner_holds_nothing(database: str, sql: Connection, claiming: Connection) -> None:
    """Each of its statements is a transaction of its own: between two there is nothing that could stay open."""
    clock = HandClock()
    await add_old(sql, claiming, 2000)
    async with running(Pruner(database, RULES, clock).run()):
        await until(lambda: clock.sleeping == 1)  # after the first batch, for as long as the clock stands still
        states = await sql.execute(
            "SELECT state, backend_xmin FROM pg_stat_activity WHERE application_name = 'rowcast-prune' AND datname = current_database()"
        )
        assert await states.fetchall() == [("idle", None)]
        assert 0 < await rows(sql) < 2000


async def test_a_session_that_prunes_is_ended_with_the_leaders(database: str, sql: Connection, valkey: Server) -> None:
    bridge = Bridge(BridgeConfig(database, retention=RULES), RedisConfig(valkey.url), "p", SystemClock())
    async with running(bridge.run()) as [work]:
        await leads(bridge)
        bridge.stop()
        await work

        async def gone() -> bool:
            rows = await sql.execute(
                "SELECT FROM pg_stat_activity WHERE application_name = 'rowcast-prune' AND datname = current_database()"
            )
            return not await rows.fetchall()

        await until(gone)
