"""`rowcast up`."""

from __future__ import annotations

import contextlib
import signal

import click

from rowcast.options import takes_settings
from rowcast.settings import CAPS, OF_JWT, Settings
from rowcast.up import run_up


@click.command("up")
@takes_settings(
    *(
        "port",
        "data_dir",
        "ready_file",
        "workers",
        "server",
        "database_url",
        "redis_url",
        "redis_prefix",
        "auth",
        *OF_JWT,
        "user_id_type",
        "buckets",
    ),
    *("poll_interval", "heartbeat", "retry", "body_bytes", "stream_queue", "pool_size", "retention", "keep_unread"),
    *("cors_origins", "insecure", "header_bytes"),
    *CAPS,
)
def command(settings: Settings) -> None:
    """Run everything on this machine: Postgres, Valkey, bridge and web.

    Starts servers of its own (from the extra `embedded`), makes the tables, starts bridge and web, and says how to insert
    the first row. What ends by itself is started again. Ctrl-C stops all of it; the data stays in --data-dir for the next
    time. Serves 127.0.0.1 only, and asks nobody who they are, unless --auth jwt is said: then it makes a key, once, and
    prints a token to log in with. `rowcast token` beside it makes more.

    With --database-url or --redis-url that server is used, and none of its kind is started.

    \b
    Examples:
        rowcast up
        rowcast up --auth jwt
        rowcast up --port 9000 --data-dir /tmp/try
        rowcast up --ready-file ready.json     # for scripts: JSON with addresses and pids, there once all is ready
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        run_up(settings, _say)


def _say(line: str) -> None:
    with contextlib.suppress(OSError):  # the terminal may be gone while its servers still stop
        click.echo(line)
