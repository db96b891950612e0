"""`rowcast web`."""

from __future__ import annotations

import asyncio
import contextlib

import click
import structlog

from core.clock import SystemClock
from core.errors import ConfigurationError
from rowcast.options import takes_settings
from rowcast.serving import require_server
from rowcast.settings import CAPS, OF_JWT, Settings, require_auth
from rowcast.signals import until_signalled
from rowcast.sockets import http_address, is_loopback, listen, parse_bind
from rowcast.tls import certificate
from rowcast.wiring.auth import auth_config
from rowcast.workers import run_workers

_log = structlog.get_logger("web")


@click.command("web")
@takes_settings(
    *("database_url", "redis_url", "redis_prefix", "bind", "workers", "server", "auth", "insecure", "cors_origins"),
    *OF_JWT,
    *("certfile", "keyfile", "connections", "header_bytes"),
    *("heartbeat", "retry", "body_bytes", "stream_queue", "pool_size", "fail_points"),
    *CAPS,
    "trusted_proxies",
)
def command(settings: Settings) -> None:
    """Serve streams, the API and the inbox page.

    Run as many as you like, on any number of machines; each serves every user. SIGTERM ends all streams cleanly, so that
    browsers come back elsewhere, and then the process, within 5 seconds.

    Who may read what must be said. --auth jwt is how it is deployed: each request needs a token, checked by --jwt-key or
    --jwks-url. --auth off lets anybody do everything: it is for one's own machine and refused on addresses that others
    reach, unless --insecure is given too.

    \b
    Examples:
        rowcast web --auth jwt --jwt-key-file key.pem --bind 0.0.0.0:8000
        rowcast web --auth off
        rowcast web --auth off --bind [::1]:8000 --workers 4
        rowcast web --auth off --bind 0.0.0.0:8000 --insecure      # behind a gate of your own
        rowcast web --auth off --certfile chain.pem --keyfile key.pem
    """
    require_auth(settings)
    bind = parse_bind(settings.bind)
    if settings.auth == "jwt":
        auth_config(settings)  # a wrong one ends this process, not its workers again and again
    elif not (settings.insecure or is_loopback(bind)):
        raise ConfigurationError(
            f"With auth off, {settings.bind} would let other machines read everybody's notifications. Set ROWCAST_AUTH=jwt, so that "
            "each needs a token; or bind a loopback address such as 127.0.0.1:8000; or say --insecure if something else guards it."
        )
    settings.need("database_url", "redis_url")
    require_server(settings.server)
    tls = certificate(settings.certfile, settings.keyfile, SystemClock()) is not None
    with contextlib.ExitStack() as undo:
        sockets = [undo.enter_context(made) for made in listen(bind)]
        for made in sockets:
            _log.info("web.listening", address=http_address(made, tls=tls), workers=settings.workers)
        if settings.workers > 1:
            asyncio.run(until_signalled(run_workers(settings, sockets)))
        else:
            from rowcast.wiring.web import run_web  # noqa: PLC0415 -- the parent of workers does without all that this imports

            asyncio.run(run_web(settings, sockets))
