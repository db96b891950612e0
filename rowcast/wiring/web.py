"""The web, from settings to its end."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace

import structlog

from core import fail_points
from core.clock import Clock, SystemClock
from core.fail_points import Point
from core.supervise import bare_errors
from db.connect import DatabaseConfig, open_pool
from db.history import History
from db.preflight import DatabaseFacts
from fanout.buckets import Buckets
from fanout.connection import RedisConfig
from rowcast.serving import end_leftovers, serve_until
from rowcast.settings import Settings
from rowcast.signals import stop_on_signals
from rowcast.wiring.start import look_first
from web.app import create_app
from web.config import WebConfig
from web.hub import Hub
from web.routes.events import events_blueprint
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
    config = WebConfig(
        body_bytes=int(settings.body_bytes),
        heartbeat=settings.heartbeat,
        retry=settings.retry,
        stream_queue=settings.stream_queue,
    )
    async with asyncio.TaskGroup() as tasks:
        looking = tasks.create_task(look_first(settings.database_url, redis, "web", clock, stopping), name="look first")
        await _receive_until(looking, config, sockets, clock)
    facts = looking.result()
    if facts is None:
        return
    config = replace(config, user_id_type=facts.user_id_type)
    database = DatabaseConfig(settings.database_url, settings.pool_size)
    async with (
        open_pool(database, name="rowcast-web") as pool,
        open_pool(replace(database, pool_size=1), name="rowcast-reread") as urgent,
        asyncio.TaskGroup() as tasks,
    ):
        history = History(pool, urgent)
        hub = Hub(redis, Buckets(facts.buckets, settings.redis_prefix), history, clock)
        hearing = tasks.create_task(hub.run(), name="hub")
        app = create_app(config, pool, hub, events_blueprint(config, hub, history, clock))

        async def drain() -> None:
            await fail_points.reach(Point.DRAIN_BEGUN)
            if left := await hub.drain(DRAIN_TIMEOUT):
                _log.warning("web.streams_left", streams=left, why="they did not take their last bytes in time")
            await fail_points.reach(Point.STREAMS_ENDED)

        await serve_until(app, sockets, stopping, drain)
        await fail_points.reach(Point.SERVER_CLOSED)
        hearing.cancel()
    await end_leftovers()
    _log.info("web.stopped")


async def _receive_until(
    looking: asyncio.Task[DatabaseFacts | None], config: WebConfig, sockets: list[socket.socket], clock: Clock
) -> None:
    """Should the first look take longer: answer meanwhile, so that nobody takes the process for dead."""
    seen = asyncio.Event()
    looking.add_done_callback(lambda _: seen.set())
    await asyncio.wait({looking}, timeout=PATIENCE)
    if not looking.done():
        await serve_until(waiting_room(config, clock), sockets, seen)
