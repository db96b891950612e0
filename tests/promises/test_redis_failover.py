"""Failovers and restarts of Redis: rows 18 and 19 of the fault matrix in docs/delivery.md."""

from __future__ import annotations

import logging
import time

import httpx
import pytest

from tests.chaos.ensemble import Ensemble, ensemble
from tests.chaos.faults import FAULTS
from tests.promises.health import get, unready
from tests.promises.load import Load, under_load

pytestmark = pytest.mark.slow

_log = logging.getLogger("tests.failover")

HEALS = 10.0


async def test_a_redis_that_starts_from_an_older_file_or_empty_loses_and_doubles_nothing() -> None:
    async with ensemble() as e, under_load(e.rig, *e.client_urls) as load:
        for begins in ("from an older file", "empty"):
            async with FAULTS["kill_redis"](e, begins=begins):
                await load.flows()
                assert "redis" in await unready(e.webs[0].url)
            await _heals(e, load)
        assert (await e.redis.primary.ask("DBSIZE")) == 0
        load.writer.unharmed()


async def test_a_replica_that_lags_behind_is_promoted_and_nothing_is_lost() -> None:
    """The old primary is gone with what the replica had not got."""
    async with ensemble(replica=True) as e, under_load(e.rig, *e.client_urls) as load:
        async with FAULTS["promote_replica"](e, lag=1.0, old="is gone", moved=""):
            await _heals(e, load)
        await _heals(e, load)
        load.writer.unharmed()


async def test_who_is_stuck_on_the_old_primary_finds_the_new_one() -> None:
    """The old primary lives on beside the new one. Bridge and web are parted by that, which web tells, and its streams are served from
    Postgres; until the old one returns as a replica, where subscribers hear what is published at the primary, but not the other way round.
    """
    async with ensemble(replica=True) as e, under_load(e.rig, *e.client_urls) as load:
        for moved in ("web", "bridge"):
            async with FAULTS["promote_replica"](e, lag=0.0, old="stays", moved=moved):
                for web in e.webs:
                    # A web process whose marks stop looks for them elsewhere; a bridge that is stuck can't know it yet.
                    assert moved == "bridge" or "marks" in await unready(web.url, web.process)
                await load.flows()
                for web in e.webs:
                    assert (await get(web.url, "/healthz")).status_code == httpx.codes.OK
            await _heals(e, load)
        load.writer.unharmed()


async def _heals(e: Ensemble, load: Load) -> None:
    """Within 10 s every stream flows and every process is ready; and it is Redis, not re-reads, that the rows come by."""
    began = time.monotonic()
    await load.flows(within=HEALS)
    await e.quiet(within=HEALS - (time.monotonic() - began))
    _log.info("all is well again after %.1f s", time.monotonic() - began)
