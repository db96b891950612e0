"""Failovers of Postgres: row 9 of the fault matrix in docs/delivery.md."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.chaos.ensemble import Ensemble, ensemble
from tests.promises.forgetting import Forgetting, forgetting
from tests.promises.health import unready
from tests.promises.load import USERS, Load, Writer, open_streams, under_load

pytestmark = pytest.mark.slow

_log = logging.getLogger("tests.failover")

HEALS = 10.0


async def test_nothing_is_lost_and_nothing_comes_twice_over_a_synchronous_standby() -> None:
    """Both places are listed in ROWCAST_DATABASE_URL; clients notice nothing but a pause."""
    async with ensemble(standby="sync", listed=True) as e, under_load(e.rig, *e.client_urls) as load:
        await _failed_over(e, load)


async def test_what_an_asynchronous_standby_had_not_got_is_forgotten_and_all_else_goes_on() -> None:
    """Every row that is left reaches every stream, and no seq of a forgotten row is given to another."""
    async with ensemble(standby="async") as e, _load(e) as load:
        e.postgres.stream.black_hole()
        await _some_rows(load)
        await _failed_over(e, load)


async def test_a_forgotten_start_of_a_term_is_not_begun_again() -> None:
    """The last leader of the old primary numbered from a place that the new one knows nothing of."""
    async with ensemble(standby="async") as e, _load(e) as load:
        e.postgres.stream.black_hole()
        leader = await e.leader()
        assert leader is not None
        await leader.kill()
        await leader.start()
        await load.flows(within=15)
        await _some_rows(load)
        before = max(int(stream.last_event_id) for stream in load.streams)
        await _failed_over(e, load)
        async with e.sql() as sql:
            row = await (await sql.execute("SELECT last_seq FROM rowcast.state")).fetchone()
        assert row is not None
        assert row[0] > before


async def _failed_over(e: Ensemble, load: Load) -> None:
    """The primary is killed; while there is none every web process says so; the standby takes over, and within 10 s all is well."""
    old = e.postgres.primary.port
    await e.postgres.primary.kill()
    for web in e.webs:
        assert "postgres" in await unready(web.url, web.process)
    await e.postgres.promote()
    assert e.postgres.primary.port != old
    e.lead()
    began = time.monotonic()
    await load.flows(within=HEALS)
    await e.quiet(within=HEALS - (time.monotonic() - began))
    _log.info("all is well again after %.1f s", time.monotonic() - began)


async def _some_rows(load: Load) -> None:
    """Rows are committed, and streams have them."""
    for stream in load.streams:
        count = len(stream.events)
        await stream.until(lambda stream=stream, count=count: len(stream.events) > count + 20)  # type: ignore[misc]


@asynccontextmanager
async def _load(e: Ensemble) -> AsyncIterator[Load]:
    """A writer, and streams that are given rows that are then forgotten, and judged by what is left."""
    writer = Writer(e.rig)
    async with open_streams([f"{url}/events/{user}" for url in e.client_urls for user in USERS]) as streams:
        load = Load(e.rig, writer, streams)
        for stream in streams:
            await stream.live()
        async with writer.writing():
            await load.flows(within=30)
            yield load
            await load.flows(within=30)
        found: Forgetting = await forgetting(load)
        found.judge()
        assert len(found.lost) > 10
        _log.info("%d rows were given out and are gone, %d are left", len(found.lost), len(found.table))
