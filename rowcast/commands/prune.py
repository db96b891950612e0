"""`rowcast prune`."""

from __future__ import annotations

import asyncio

import click

from core.clock import SystemClock
from core.durations import parse_duration
from db.pruning import Rules
from rowcast.options import takes_settings
from rowcast.settings import Settings
from rowcast.wiring.prune import run_prune


def _seconds(_: click.Context, __: click.Parameter, value: str) -> int:
    try:
        return parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(f"{error}, and not {value[:80]!r}.") from error


@click.command("prune")
@takes_settings("database_url", "keep_unread")
@click.option(
    "--older-than",
    callback=_seconds,
    required=True,
    metavar="DURATION",
    help="How old a row must be, as in 30d, 12h or 90m.",
)
@click.option("--dry-run", is_flag=True, help="Only tell what would go.")
def command(settings: Settings, *, older_than: int, dry_run: bool) -> None:
    """Delete old rows, and say so to clients that still want them.

    Takes relayed rows only, from the beginning of the log up to the first that is too young, in small batches that keep no
    writer waiting; so it may run at any time, also while it is running already. A client that comes back with a position
    before what is gone gets a reset. Stopped in the middle, it has done what it said so far.

    \b
    Examples:
        rowcast prune --older-than 30d --dry-run
        rowcast prune --older-than 30d --keep-unread
    """
    settings.need("database_url")
    rules = Rules(older_than, settings.keep_unread)
    asyncio.run(run_prune(settings.database_url, rules, SystemClock(), click.echo, dry_run=dry_run))
