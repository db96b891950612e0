"""`rowcast web`."""

from __future__ import annotations

import asyncio
import contextlib

import click
import structlog

from core.errors import ConfigurationError
from rowcast.options import takes_settings
from rowcast.settings import Settings, require_auth_off
from rowcast.signals import until_signalled
from rowcast.sockets import http_address, is_loopback, listen, parse_bind
from rowcast.workers import run_workers

_log = structlog.get_logger("web")


@click.command("web")
@takes_settings(
    *("database_url", "redis_url", "redis_prefix", "bind", "workers", "auth", "insecure"),
    *("heartbeat", "retry", "body_bytes", "stream_queue", "pool_size", "fail_points"),
)
def command(settings: Settings) -> None:
    """Serve streams, the API and the inbox page.

    Run as many as you like, on any number of machines; each serves every user. SIGTERM ends all streams cleanly, so that
    browsers come back elsewhere, and then the process, within 5 seconds.

    Who may read what must be said: this version knows only --auth off (anybody, everything), which is for one's own
    machine and refused on addresses that others reach, unless --insecure is given too.

    \b
    Examples:
        rowcast web --auth off
        rowcast web --auth off --bind [::1]:8000 --workers 4
        rowcast web --auth off --bind 0.0.0.0:8000 --insecure      # behind a gate of your own
    """
    require_auth_off(settings)
    bind = parse_bind(settings.bind)
    if not (settings.insecure or is_loopback(bind)):
        raise ConfigurationError(
            f"Without ROWCAST_AUTH=jwt (which is for a later version), {settings.bind} would let other machines read everybody's "
            f"notifications. Bind a loopback address such as 127.0.0.1:8000, or say --insecure if something else guards it."
        )
    settings.need("database_url", "redis_url")
    with contextlib.ExitStack() as undo:
        sockets = [undo.enter_context(made) for made in listen(bind)]
        for made in sockets:
            _log.info("web.listening", address=http_address(made), workers=settings.workers)
        if settings.workers > 1:
            asyncio.run(until_signalled(run_workers(settings, sockets)))
        else:
            from rowcast.wiring.web import run_web  # noqa: PLC0415 -- the parent of workers does without all that this imports

            asyncio.run(run_web(settings, sockets))
