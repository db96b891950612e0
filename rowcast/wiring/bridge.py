"""The bridge, from settings to its end."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from bridge.config import BridgeConfig
from bridge.service import Bridge
from core import fail_points
from core.clock import SystemClock
from core.durations import parse_duration
from core.supervise import bare_errors
from db.pruning import Rules
from fanout.connection import RedisConfig
from rowcast.settings import Settings
from rowcast.signals import stop_on_signals
from rowcast.sockets import listen, parse_bind
from rowcast.wiring.start import look_first


async def run_bridge(settings: Settings) -> None:
    """The bridge, until SIGTERM or SIGINT; raises DatabaseUnfitError, RedisUnfitError or ConfigurationError at start."""
    with bare_errors():
        await _run_bridge(settings)


async def _run_bridge(settings: Settings) -> None:
    clock, redis, stopping = SystemClock(), RedisConfig(settings.redis_url), asyncio.Event()
    fail_points.arm(settings.fail_points, clock)
    stop_on_signals(stopping.set)
    config = BridgeConfig(settings.database_url, poll_interval=settings.poll_interval, retention=_rules(settings))
    bridge = Bridge(config, redis, settings.redis_prefix, clock)
    async with asyncio.TaskGroup() as tasks:
        # From the start, so that nobody takes a bridge that waits for Postgres for dead.
        health = tasks.create_task(_serve_health(settings, bridge), name="health")
        prunes = bool(settings.retention)
        if await look_first(settings.database_url, redis, "bridge", clock, stopping, prunes=prunes):
            stop_on_signals(bridge.stop)
            if stopping.is_set():
                bridge.stop()
            await bridge.run()
        health.cancel()


def _rules(settings: Settings) -> Rules | None:
    return Rules(parse_duration(settings.retention), settings.keep_unread) if settings.retention else None


async def _serve_health(settings: Settings, bridge: Bridge) -> None:
    if settings.health_bind is None:
        return
    # A web server, for who asks for it.
    from bridge.health import health_app  # noqa: PLC0415
    from rowcast.serving import serve_until  # noqa: PLC0415

    async with AsyncExitStack() as stack:
        sockets = listen(parse_bind(settings.health_bind), flag="--health-bind")
        for listening in sockets:
            stack.enter_context(listening)
        await serve_until(health_app(bridge), sockets, asyncio.Event())
