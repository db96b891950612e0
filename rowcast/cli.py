"""The command `rowcast`: which subcommands there are, how errors look, what the exit status is.

0 done, 1 failed, 2 wrong usage or settings. A subcommand is imported when it is called, so that `rowcast --help` is quick.
"""

from __future__ import annotations

import contextlib
import importlib
import signal
import sys
from collections.abc import Iterator
from typing import NoReturn

import click

from core.errors import ConfigurationError, RowcastError
from rowcast.redaction import redacted
from rowcast.terminal import safe_lines

# In the order of a first day with Rowcast. The short help stands here so that listing them imports none.
COMMANDS = {
    "up": "Run everything on this machine: Postgres, Valkey, bridge and web.",
    "send": "Send a notification to a user, or to everyone.",
    "tail": "Watch a user's notifications arrive.",
    "token": "Make a token for trying.",
    "migrate": "Make or update Rowcast's tables in a database.",
    "bridge": "Carry new rows from Postgres to Redis.",
    "web": "Serve streams, the API and the inbox page.",
    "prune": "Delete old rows, and say so to clients that still want them.",
    "bench": "Measure Rowcast on this machine, beside what one would use instead.",
}
# What runs until it is told to stop.
SERVERS = ("bridge", "web")
FAILED, WRONG_USAGE = 1, 2


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 -- click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 -- click's signature
        if cmd_name not in COMMANDS:
            return None
        if cmd_name in SERVERS:
            signal.signal(signal.SIGTERM, _end)  # until its event loop listens itself
        with _plain_ctrl_c():
            command = importlib.import_module(f"rowcast.commands.{cmd_name}").command
        assert isinstance(command, click.Command)  # noqa: S101
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 -- click's signature
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _end(*_: object) -> NoReturn:
    """Told to stop before it has begun: there is nothing to finish, and nothing went wrong."""
    sys.exit(0)


@contextlib.contextmanager
def _plain_ctrl_c() -> Iterator[None]:
    """Let Ctrl-C end us on the spot while modules load, when there is nothing to clean up, instead of with their traceback."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGINT, before)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="rowcast", message="%(prog)s %(version)s")
def rowcast() -> None:
    """Rowcast carries rows from Postgres to browsers.

    Any SQL client inserts a row into the table notifications; the browser of the user it is for shows it a few
    milliseconds later.

    \b
    On your own machine, everything at once:
        rowcast up
    In production, with a Postgres and a Redis of your own:
        export ROWCAST_DATABASE_URL=postgresql://... ROWCAST_REDIS_URL=redis://...
        rowcast migrate
        rowcast bridge &
        rowcast web --auth off

    Every setting is a flag, an environment variable ROWCAST_..., or a line of the file .env; the first of these wins.

    Exit status: 0 done, 1 failed, 2 wrong usage or settings.
    """


def main() -> None:
    """Run the command line; never returns."""
    sys.exit(_run())


def _run() -> int:
    try:
        return _status(rowcast.main(prog_name="rowcast", standalone_mode=False))
    except click.Abort:
        return FAILED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except RowcastError as error:
        click.echo(f"rowcast: {redacted(safe_lines(error))}", err=True)
        return WRONG_USAGE if isinstance(error, ConfigurationError) else FAILED


def _status(result: object) -> int:
    return result if isinstance(result, int) else 0
