"""The web, from settings to its end."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial

import structlog
from prometheus_client import CollectorRegistry

from core import fail_points
from core.clock import SystemClock
from core.fail_points import Point
from core.supervise import bare_errors
from db.connect import DatabaseConfig, open_pool
from db.history import History, Pool
from db.preflight import DatabaseFacts
from fanout.buckets import Buckets
from fanout.connection import RedisConfig
from rowcast.door import Bounds
from rowcast.serving import App, ServerName, end_leftovers, serve_until
from rowcast.settings import Settings
from rowcast.signals import stop_on_signals
from rowcast.wiring.bounds import bounds_of
from rowcast.wiring.start import look_first
from rowcast.wiring.tokens import checked_tokens
from rowcast.wiring.web_config import web_config
from web.admission import Admission
from web.app import create_app
from web.auth.gate import Gate
from web.auth.revoked import Revoked
from web.front import Front
from web.heads import BoundedHeads
from web.hub import Hub
from web.refusals import Refusals
from web.request_ids import RequestIds
from web.routes.events import events_blueprint
from web.routes.metrics import metrics_blueprint, show_streams
from web.waiting_room import waiting_room

_log = structlog.get_logger("rowcast")

# Seconds, of the 5 a stop may take.
DRAIN_TIMEOUT = 2.5
# Seconds that the first look at Postgres may take before somebody answers at the door.
PATIENCE = 1.0


async def run_web(settings: Settings, sockets: list[socket.socket]) -> None:
    """The web on `sockets`, until SIGTERM or SIGINT; raises DatabaseUnfitError, RedisUnfitError or ConfigurationError at start."""
    with bare_errors():
        await _run_web(settings, sockets)


async def _run_web(settings: Settings, sockets: list[socket.socket]) -> None:
    clock, redis, stopping = SystemClock(), RedisConfig(settings.redis_url), asyncio.Event()
    fail_points.arm(settings.fail_points, clock)
    stop_on_signals(stopping.set)
    registry = CollectorRegistry()
    refusals = Refusals(clock, registry)
    config, bounds = web_config(settings), bounds_of(settings, refusals, clock)
    ids = RequestIds(clock)
    admission = Admission(config, refusals, ids, clock)
    async with asyncio.TaskGroup() as tasks:
        looking = tasks.create_task(look_first(settings.database_url, redis, "web", clock, stopping), name="look first")
        waiting = ids.before(admission.before(waiting_room(config, refusals, clock)))
        await _receive_until(looking, waiting, sockets, settings.server, bounds)
    facts = looking.result()
    if facts is None:
        return
    config = replace(config, user_id_type=facts.user_id_type)
    async with _open_database(settings) as (pool, history):
        buckets, revoked = Buckets(facts.buckets, settings.redis_prefix), Revoked()
        hub = Hub(redis, buckets, history, clock, token_leeway=config.token_leeway, refuses=revoked.refuses)
        show_streams(registry, hub)
        checking = checked_tokens(settings, config.user_id_type, buckets, clock, hub=hub, revoked=revoked)
        async with checking as (verifier, revocations), asyncio.TaskGroup() as tasks:
            hearing = tasks.create_task(hub.run(), name="hub")
            gate = Gate(config, verifier, clock)
            more = events_blueprint(config.user_id_type), metrics_blueprint(registry)
            app = create_app(config, gate, pool, hub, *more, revocations=revocations, refusals=refusals, clock=clock)
            _collect_seldom()
            telling = tasks.create_task(refusals.run(), name="refusals")
            front = Front(app, config, gate, hub=hub, history=history, refusals=refusals, clock=clock)
            bounded = BoundedHeads(admission.before(front), bounds.header_bytes, refusals, config.cors_origins)
            await serve_until(
                ids.before(bounded), sockets, stopping, partial(_drain, hub), server=settings.server, bounds=bounds
            )
            await fail_points.reach(Point.SERVER_CLOSED)
            hearing.cancel()
            telling.cancel()
    await end_leftovers()
    _log.info("web.stopped")


async def _drain(hub: Hub) -> None:
    await fail_points.reach(Point.DRAIN_BEGUN)
    if left := await hub.drain(DRAIN_TIMEOUT):
        _log.warning("web.streams_left", streams=left, why="they did not take their last bytes in time")
    await fail_points.reach(Point.STREAMS_ENDED)


def _collect_seldom() -> None:
    """By default Python looks through all that is open for garbage every 70,000 objects: while thousands of streams come, for most of the time.

    What was imported is never garbage. An ended connection leaves 80 objects, so that some 3,000 of them may wait to be found.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 10, 5)


@asynccontextmanager
async def _open_database(settings: Settings) -> AsyncIterator[tuple[Pool, History]]:
    """The pool for requests, and the log. Of more than one session, one is kept for what streams missed."""
    one = DatabaseConfig(settings.database_url, 1)
    async with AsyncExitStack() as stack:
        open_one = partial(open_pool, one)
        urgent = await stack.enter_async_context(open_one(name="rowcast-reread"))
        if settings.pool_size == 1:
            limited = open_one(name="rowcast-web", statement_timeout=settings.query_timeout)
            pool = batches = await stack.enter_async_context(limited)
        else:
            rest = replace(one, pool_size=settings.pool_size - 1)
            limited = open_pool(rest, name="rowcast-web", statement_timeout=settings.query_timeout)
            pool = await stack.enter_async_context(limited)
            batches = await stack.enter_async_context(open_one(name="rowcast-backlog", ordered=True))
        yield pool, History(pool, urgent, batches)


async def _receive_until(
    looking: asyncio.Task[DatabaseFacts | None],
    waiting: App,
    sockets: list[socket.socket],
    server: ServerName,
    bounds: Bounds,
) -> None:
    """Should the first look take longer: answer meanwhile, so that nobody takes the process for dead."""
    seen = asyncio.Event()
    looking.add_done_callback(lambda _: seen.set())
    await asyncio.wait({looking}, timeout=PATIENCE)
    if not looking.done():
        await serve_until(waiting, sockets, seen, server=server, bounds=bounds)
