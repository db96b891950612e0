"""`rowcast tail`."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

import click
from httpx_sse import ServerSentEvent

from core.clock import SystemClock
from rowcast.address import open_client
from rowcast.credentials import Errand
from rowcast.event_lines import for_people, for_programs
from rowcast.options import takes_settings
from rowcast.settings import Settings
from rowcast.tail import Follower
from rowcast.terminal import safe
from web.auth.caller import Scope


@click.command("tail")
@takes_settings("url", "data_dir", "token")
@click.argument("user")
@click.option(
    "--since",
    metavar="unread|now|all|SEQ",
    help="Where to begin: what is unread (the default), what comes from now on, all, or after a position.",
)
def command(settings: Settings, *, user: str, since: str | None) -> None:
    """Watch a user's notifications arrive.

    Until Ctrl-C. On a terminal a line for people; into a pipe one JSON object a line, as the browser gets it, with its
    position `seq`. A lost connection comes back by itself, and what was missed meanwhile comes first. Talks to the
    `rowcast up` that runs on --data-dir, or to --url. A web that asks for tokens is shown one of --token-file, which must be
    the user's own; it ends with its token.

    \b
    Examples:
        rowcast tail 1
        rowcast tail 1 --since now | jq -r .message
        rowcast tail 1 --url https://notify.example.com --token-file token.txt
        rowcast tail 1 --since 217468800000007
        rowcast tail -- -5                 # an id that begins with a dash
    """
    people, errand = sys.stdout.isatty(), Errand(user, Scope.READ)

    def show(event: ServerSentEvent) -> None:
        line = for_people(event.event, event.data) if people else for_programs(event.event, event.data, event.id)
        if line is not None:
            click.echo(line)  # which flushes

    def note(line: str) -> None:
        click.echo(f"rowcast: {safe(line)}", err=True)

    with contextlib.suppress(KeyboardInterrupt), _reader_may_go(), open_client(settings, errand) as client:
        Follower(client, user, since, errand, show, note, SystemClock()).run()


@contextlib.contextmanager
def _reader_may_go() -> Iterator[None]:
    """End quietly when who read our output has gone, as `| head` does; Python would complain again when it flushes at exit."""
    try:
        yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
