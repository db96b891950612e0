"""Any role may NOTIFY: it wakes the bridge, and that is all."""

from __future__ import annotations

import psutil
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests.db.databases import Databases
from tests.event_source import open_stream
from tests.rig import Rig

PAYLOADS = ["", "1", '{"id":1,"user_id":2,"message":"forged"}', "'; DROP TABLE notifications; --", "x" * 7999]


@pytest.mark.slow
async def test_a_flood_of_forged_notifies_wakes_and_nothing_more(own: Rig, databases: Databases) -> None:
    """By a role that may do nothing but connect: nothing is delivered, rows go on arriving, the queue stays empty."""
    bridge = await own.bridge()
    url, _ = await own.web()
    async with open_stream(f"{url}/events/1") as stream:
        await stream.live()
        with databases.login() as name:
            stranger = make_conninfo(own.database_url, user=name, password="test")
            with psycopg.connect(stranger, autocommit=True) as session:
                before = psutil.Process(bridge.pid).cpu_times()
                for n in range(2000):
                    session.execute("SELECT pg_notify('rowcast', %s)", (PAYLOADS[n % len(PAYLOADS)],))
                session.execute("SELECT pg_notify('rowcast', n::text) FROM generate_series(1, 20000) AS n")
                await own.insert(1, "real")
                await stream.receives("real")
                after = psutil.Process(bridge.pid).cpu_times()
                assert after.user + after.system - before.user - before.system < 10
                row = session.execute("SELECT pg_notification_queue_usage()").fetchone()
                assert row is not None
                assert row[0] < 0.01
        await own.insert(1, "after")
        await stream.receives("real", "after")
    assert bridge.process is not None
    assert bridge.process.returncode is None
    assert "forged" not in bridge.log
