"""Those who LISTEN and do not read: rows 7 and 8 of the fault matrix in docs/delivery.md.

One reader that stalls keeps all notifications of the whole server, until their queue is full and every commit that would add one fails.
"""

from __future__ import annotations

import asyncio
import time

import httpx
import pytest

from tests.db.notify_queue import SMALL, a_stranger_who_does_not_read, fill, usage
from tests.event_source import open_stream
from tests.promises.health import get, unready
from tests.promises.load import under_load
from tests.promises.own_postgres import backend, frozen, own_postgres
from tests.promises.probe import delivery
from tests.rig import Rig, free_port, ready
from tests.waiting import until
from tests.wire import wire

HEALS = 10.0
BLACK_HOLE = 60.0
POLLED = 2.0  # seconds: the poll's one, and what the machine does beside


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["auto", "always"])
async def test_a_notify_queue_that_others_filled_makes_no_insert_fail(mode: str) -> None:
    """Row 8: rows then come with the poll, and at once again when the queue has room."""
    async with own_postgres(**SMALL) as (_, own):
        bridge = await own.bridge(log_level="debug")
        url, _ = await own.web()
        async with own.sql() as sql, open_stream(f"{url}/events/1") as stream:
            await stream.live()
            await sql.execute(f"ALTER ROLE CURRENT_USER SET rowcast.notify = '{mode}'")
            async with a_stranger_who_does_not_read(own.database_url):
                await fill(own.database_url)
                assert await usage(own.database_url) > 0.9
                assert await delivery(own, stream, 1, rows=5) < POLLED
                await bridge.logged("listener.queue_full")
            await until(lambda: _has_room(own))
            await bridge.logged("listener.queue_has_room")
            assert await delivery(own, stream, 1, rows=20) < 0.5


async def _has_room(own: Rig) -> bool:
    return await usage(own.database_url) < 0.1


@pytest.mark.slow
async def test_a_doorbell_whose_backend_is_frozen_is_replaced_and_fills_no_queue() -> None:
    """Rows 7 and 8: it can't even end itself. More rings than the queue has room for, all rows delivered, and nothing left behind."""
    async with own_postgres(**SMALL) as (_, own):
        bridge = await own.bridge()
        url, _ = await own.web()
        async with own.sql() as sql:
            await sql.execute("ALTER ROLE CURRENT_USER SET rowcast.notify = 'always'")
        async with under_load(own, url) as load:
            with frozen(await backend(own, "rowcast-listen")):
                await load.flows(within=HEALS)
                await bridge.logged("while looking at the NOTIFY queue")
                await insert_many(own, 20_000)
                await load.flows(within=HEALS)
                load.writer.unharmed()
                assert 0.4 < await usage(own.database_url) < 0.6
            await until(lambda: _has_room(own))
            await load.flows(within=HEALS)


async def insert_many(own: Rig, rows: int) -> None:
    """So many rows of nobody who listens, one to a transaction."""
    async with own.sql() as sql:
        await sql.execute(
            f"DO $$ BEGIN FOR n IN 1..{rows} LOOP INSERT INTO notifications (user_id, message) VALUES (99, n); COMMIT; END LOOP; END $$"
        )


@pytest.mark.slow
async def test_a_bridge_cut_off_for_a_minute_harms_no_writer_and_leaves_nothing_behind_in_postgres() -> None:
    """Rows 7 and 8: half open, no FIN, as a network does it. Postgres ends its sessions, so the queue does not grow."""
    async with own_postgres(**SMALL) as (server, own), wire(server.url) as cut:
        bridge_health = f"127.0.0.1:{free_port()}"
        bridge = await own.bridge(database_url=cut.url, health_bind=bridge_health)
        url, web = await own.web()
        async with own.sql() as sql:
            await sql.execute("ALTER ROLE CURRENT_USER SET rowcast.notify = 'always'")
        async with under_load(own, url) as load:
            cut.black_hole()
            began = time.monotonic()
            assert "marks" in await unready(url, web)
            await unready(f"http://{bridge_health}", bridge, within=20)
            await until(lambda: _no_sessions(own), timeout=20)
            ended = time.monotonic() - began
            assert ended < 15, "of 10 s, and what the machine does beside"
            await insert_many(own, 20_000)
            while time.monotonic() - began < BLACK_HOLE:
                assert (await get(url, "/readyz")).status_code == httpx.codes.SERVICE_UNAVAILABLE
                assert await usage(own.database_url) < 0.2
                await asyncio.sleep(1)
            load.writer.unharmed()
            cut.heal()
            await load.flows(within=HEALS)
            await ready(url, web, timeout=HEALS)
            await ready(f"http://{bridge_health}", bridge, timeout=HEALS)
        assert bridge.log.count("connection.lost") < 10


async def _no_sessions(own: Rig) -> bool:
    """Is the bridge gone, as Postgres sees it?"""
    async with own.sql() as sql:
        rows = await sql.execute(
            "SELECT FROM pg_stat_activity WHERE application_name IN ('rowcast-claim', 'rowcast-listen', 'rowcast-read')"
        )
        return await rows.fetchone() is None
