"""`rowcast prune`, from its settings to its end."""

from __future__ import annotations

from collections.abc import Callable

from core.clock import Clock
from db.connect import session
from db.preflight import inspect
from db.pruning import Rules, Tally, prune_all


async def run_prune(
    database_url: str, rules: Rules, clock: Clock, say: Callable[[str], None], *, dry_run: bool
) -> None:
    """Prune once and say what went, also if it was stopped in the middle. Raises as db.preflight and db.pruning do."""
    async with session(database_url, name="rowcast-prune") as connection:
        await inspect(connection, part="pruner")
        tally = Tally()
        try:
            await prune_all(connection, rules, clock, tally, dry_run=dry_run)
        finally:
            say(_would_go(tally) if dry_run else _went(tally))


def _would_go(tally: Tally) -> str:
    return f"Would delete {tally.rows} rows; clients with a position below {tally.pruned_seq} would get a reset."


def _went(tally: Tally) -> str:
    marks = f", and {tally.viewed} marks of who viewed rows that are gone" if tally.viewed else ""
    return f"Deleted {tally.rows} rows{marks}; clients with a position below {tally.pruned_seq} get a reset."
