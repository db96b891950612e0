"""What users set or make in their own database: row 38 of the fault matrix in docs/delivery.md."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from tests.promises.health import get, unready
from tests.promises.load import under_load
from tests.promises.probe import raw_stream
from tests.rig import Rig, free_port, ready
from tests.waiting import until

pytestmark = pytest.mark.slow

HEALS = 10.0
ROWS = 10_000
# Each is somebody's way to protect a database from its applications.
SETTINGS = {
    "default_transaction_isolation": "serializable",
    "statement_timeout": "100ms",
    "lock_timeout": "10ms",
    "idle_in_transaction_session_timeout": "1s",
    "idle_session_timeout": "2s",
    "transaction_timeout": "150ms",
}


async def test_timeouts_and_isolation_of_the_whole_database_change_nothing(own: Rig) -> None:
    """Not for the bridge, whose claim of many rows takes longer, nor for web processes, for which a row of 20 MB does."""
    await _alter_database(own, *(f"SET {name} = '{value}'" for name, value in SETTINGS.items()))
    bridge = await own.bridge()
    url, web = await own.web()
    async with under_load(own, url) as load:
        await _insert_many(own)
        await load.flows(within=HEALS)
        async with raw_stream(f"{url}/events/99") as stream:
            await stream.until(b"event: hello")
            assert len(stream.said) > 1000 * ROWS + 20_000_000
        load.writer.unharmed()
        await ready(url, web)
        await _alter_database(own, "RESET ALL")  # for the test's own look at the table
    for process in (bridge, web):
        assert "timeout" not in process.log.lower()
        assert "connection.lost" not in process.log


async def _alter_database(own: Rig, *clauses: str) -> None:
    async with own.sql() as sql:
        for clause in clauses:
            await sql.execute(
                f"DO $alter$ BEGIN EXECUTE format($$ALTER DATABASE %I {clause}$$, current_database()); END $alter$"
            )


async def _insert_many(own: Rig) -> None:
    async with own.sql() as sql:
        await sql.execute("SET statement_timeout = 0; SET transaction_timeout = 0")
        await sql.execute(
            "INSERT INTO notifications (user_id, message) SELECT 99, repeat('x', 1000) FROM generate_series(1, %s)",
            (ROWS,),
        )
        await sql.execute("INSERT INTO notifications (user_id, message) VALUES (99, repeat('x', 20000000))")


@asynccontextmanager
async def a_trigger_that(own: Rig, does: str) -> AsyncIterator[None]:
    """A user's own UPDATE trigger, which so runs inside the claim."""
    async with own.sql() as sql:
        await sql.execute(
            f"CREATE FUNCTION mine() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {does}; RETURN NEW; END $$;"
            "CREATE TRIGGER mine BEFORE UPDATE ON notifications FOR EACH ROW EXECUTE FUNCTION mine()"
        )
        try:
            yield
        finally:
            await sql.execute("DROP TRIGGER mine ON notifications")


async def test_a_failing_trigger_of_the_users_own_stops_delivery_loudly_and_only_while_it_is_there(own: Rig) -> None:
    """Log and /readyz of the bridge say what it says; INSERTs neither fail nor wait."""
    health = f"127.0.0.1:{free_port()}"
    bridge = await own.bridge(health_bind=health)
    url, web = await own.web()
    async with under_load(own, url) as load:
        async with a_trigger_that(own, "RAISE 'not this one'"):
            assert "not this one" in await unready(f"http://{health}", bridge)
            assert bridge.log.count("not this one") == 1
            terms = bridge.log.count("term.started")
            while bridge.log.count("term.started") < terms + 3:
                await bridge.changed()
                assert (await get(f"http://{health}", "/readyz")).status_code == httpx.codes.SERVICE_UNAVAILABLE
            load.writer.unharmed()
        await load.flows(within=HEALS)
        await ready(f"http://{health}", bridge, timeout=HEALS)
        await ready(url, web, timeout=HEALS)
    assert bridge.log.count("not this one") == 1


async def test_a_slow_trigger_of_the_users_own_slows_delivery_and_does_not_end_it(own: Rig) -> None:
    """A claim of all that waits would take longer than any statement may: the next ones take less, and no more than is done in time."""
    bridge = await own.bridge()
    url, _ = await own.web()
    async with under_load(own, url, pause=5) as load:
        async with a_trigger_that(own, "PERFORM pg_sleep(0.02)"):
            async with own.sql() as sql:
                await sql.execute(
                    "INSERT INTO notifications (user_id, message) SELECT 99, 'x' FROM generate_series(1, 600)"
                )
            began = time.monotonic()
            await until(lambda: _all_stamped(own), timeout=60)
            took = time.monotonic() - began
        assert bridge.log.count("connection.lost") == 1
        assert "claim.too_slow" in bridge.log
        assert took < 40, "12 s of work, and 10 s for the claim that was given up"
        await load.flows(within=HEALS)
        load.writer.unharmed()


async def _all_stamped(own: Rig) -> bool:
    async with own.sql() as sql:
        rows = await sql.execute("SELECT FROM notifications WHERE seq IS NULL AND user_id = 99 LIMIT 1")
        return await rows.fetchone() is None
