"""The one place where the parts are put together."""

from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack
from dataclasses import replace

import structlog

from bridge.config import BridgeConfig
from bridge.health import health_app
from bridge.service import Bridge
from core.clock import Clock, SystemClock
from core.errors import ConfigurationError, DatabaseUnfitError, RedisUnavailableError
from core.supervise import Attempt, bare_errors, supervise
from db.connect import DatabaseConfig, open_pool, session
from db.history import History
from db.preflight import DatabaseFacts, Part, inspect
from fanout.buckets import Buckets
from fanout.connection import RedisConfig, check_redis
from rowcast.serving import end_leftovers, serve_until, stop_on_signals
from rowcast.settings import Settings
from rowcast.sockets import listen, parse_bind
from web.app import create_app
from web.config import WebConfig
from web.hub import Hub
from web.routes.events import events_blueprint

_log = structlog.get_logger("rowcast")

# Seconds, of the 5 a stop may take.
DRAIN_TIMEOUT = 2.5


async def run_bridge(settings: Settings) -> None:
    """The bridge, until SIGTERM or SIGINT; raises DatabaseUnfitError, RedisUnfitError or ConfigurationError at start."""
    with bare_errors():
        await _run_bridge(settings)


async def run_web(settings: Settings, sockets: list[socket.socket]) -> None:
    """The web on `sockets`, until SIGTERM or SIGINT; raises as `run_bridge`."""
    with bare_errors():
        await _run_web(settings, sockets)


async def _run_bridge(settings: Settings) -> None:
    clock, redis, stopping = SystemClock(), RedisConfig(settings.redis_url), asyncio.Event()
    stop_on_signals(stopping.set)
    if await _look_first(settings.database_url, redis, "bridge", clock, stopping) is None:
        return
    config = BridgeConfig(settings.database_url, poll_interval=settings.poll_interval)
    bridge = Bridge(config, redis, settings.redis_prefix, clock)
    async with asyncio.TaskGroup() as tasks:
        stop_on_signals(bridge.stop)
        if stopping.is_set():
            bridge.stop()
        health = tasks.create_task(_serve_health(settings, bridge), name="health")
        await bridge.run()
        health.cancel()


async def _run_web(settings: Settings, sockets: list[socket.socket]) -> None:
    clock, redis, stopping = SystemClock(), RedisConfig(settings.redis_url), asyncio.Event()
    stop_on_signals(stopping.set)
    facts = await _look_first(settings.database_url, redis, "web", clock, stopping)
    if facts is None:
        return
    config = WebConfig(
        user_id_type=facts.user_id_type,
        body_bytes=int(settings.body_bytes),
        heartbeat=settings.heartbeat,
        retry=settings.retry,
        stream_queue=settings.stream_queue,
    )
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
            if left := await hub.drain(DRAIN_TIMEOUT):
                _log.warning("web.streams_left", streams=left, why="they did not take their last bytes in time")

        await serve_until(app, sockets, stopping, drain)
        hearing.cancel()
    await end_leftovers()
    _log.info("web.stopped")


async def _look_first(
    database_url: str, redis: RedisConfig, part: Part, clock: Clock, stopping: asyncio.Event
) -> DatabaseFacts | None:
    """Wait until Postgres answers; raise at once if it, or a Redis that answers, can't carry Rowcast. None: told to stop meanwhile."""
    async with asyncio.TaskGroup() as tasks:
        looking = tasks.create_task(_look(database_url, part, clock), name="first look")
        stopped = tasks.create_task(stopping.wait(), name="stop")
        await asyncio.wait({looking, stopped}, return_when=asyncio.FIRST_COMPLETED)
        looking.cancel()
        stopped.cancel()
    if stopping.is_set():
        return None
    try:
        await check_redis(redis)
    except RedisUnavailableError as error:
        _log.warning("redis.away_at_start", reason=str(error))
    return looking.result()


async def _look(database_url: str, part: Part, clock: Clock) -> DatabaseFacts:
    found: list[DatabaseFacts] = []

    async def look(attempt: Attempt) -> None:
        async with session(database_url, name=f"rowcast-{part}") as connection:
            found.append(await inspect(connection, part=part))
        attempt.succeeded()

    await supervise(
        "postgres", look, clock=clock, until=lambda: bool(found), fatal=(DatabaseUnfitError, ConfigurationError)
    )
    return found[0]


async def _serve_health(settings: Settings, bridge: Bridge) -> None:
    if settings.health_bind is None:
        return
    async with AsyncExitStack() as stack:
        sockets = listen(parse_bind(settings.health_bind), flag="--health-bind")
        for listening in sockets:
            stack.enter_context(listening)
        await serve_until(health_app(bridge), sockets, asyncio.Event(), _nothing)


async def _nothing() -> None:
    pass
