"""Those who LISTEN and do not read: rows 7 and 8 of the fault matrix in docs/delivery.md.

One reader that stalls keeps all notifications of the whole server, until their queue is full and every commit that would add one fails.
"""

from __future__ import annotations

import pytest

from tests.db.notify_queue import SMALL, a_stranger_who_does_not_read, fill, usage
from tests.event_source import open_stream
from tests.promises.own_postgres import own_postgres
from tests.promises.probe import delivery
from tests.rig import Rig
from tests.waiting import until

HEALS = 10.0
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
