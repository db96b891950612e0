"""`rowcast bridge`."""

from __future__ import annotations

import asyncio

import click

from rowcast.options import takes_settings
from rowcast.settings import Settings
from rowcast.wiring.bridge import run_bridge


@click.command("bridge")
@takes_settings(
    "database_url",
    "redis_url",
    "redis_prefix",
    "poll_interval",
    "retention",
    "keep_unread",
    "health_bind",
    "fail_points",
)
def command(settings: Settings) -> None:
    """Carry new rows from Postgres to Redis.

    Run one, or two on different machines: one leads, the others stand by and take over within seconds. Losing Postgres or
    Redis is no reason to end; it comes back by itself. SIGTERM finishes the batch in hand and ends within 5 seconds.

    \b
    Examples:
        rowcast bridge
        rowcast bridge --health-bind 127.0.0.1:9100     # /healthz and /readyz
        rowcast bridge --retention 30d --keep-unread    # the leader deletes what is older, but for what nobody viewed
    """
    settings.need("database_url", "redis_url")
    asyncio.run(run_bridge(settings))
