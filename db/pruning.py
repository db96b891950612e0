"""Letting go of the old end of the log, in small batches that wait for nobody and for which nobody waits.

First the position is moved (`rowcast.forget`), committed for itself, then rows go: whoever sees a row missing sees that it was pruned,
whatever is killed in between and however many prune at once.

The log is cut off at one place. A row goes if it was created before the cutoff and so was everything before it in the log: a date that
a writer set in the past takes nothing out of the middle. A date in the future, infinity included, is no age: such a row stays, and
those after it don't wait for it. Ages are told by the server's clock, read once a run.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeVar

from core.clock import Clock
from core.errors import DatabaseUnfitError
from db.connect import Connection, limited
from db.queries import query

# A batch takes some milliseconds, so that no lock of it is held for longer.
BATCH_ROWS = 500
BATCH_BYTES = 4 << 20
VIEWED_PAGE = 2000
# Seconds. The server ends a session that is silent for longer than db.connect.PEER_TIMEOUT.
LONGEST_PAUSE = 5.0


@dataclass(frozen=True, slots=True)
class Rules:
    """What may go: rows older than so many seconds; with `keep_unread` not those that their user has not viewed.

    A row for everyone goes by its age alone: of nobody can it be said that everyone has viewed it.
    """

    older_than: float
    keep_unread: bool = False


@dataclass(frozen=True, slots=True)
class Batch:
    """So many rows went (or would go), and history is gone up to there (`pruned_seq`; a dry run: would be)."""

    rows: int
    pruned_seq: int


@dataclass(slots=True)
class Tally:
    """What went so far: rows, entries of who viewed which; and up to where history is gone."""

    rows: int = 0
    viewed: int = 0
    pruned_seq: int = 0


async def prune_all(
    session: Connection,
    rules: Rules,
    clock: Clock,
    tally: Tally,
    *,
    rest: float = 1.0,
    viewed: bool = True,
    dry_run: bool = False,
) -> None:
    """One whole walk, counted in `tally` as it goes: rows, then, with `viewed`, the entries of rows that are gone.

    After each batch comes a pause, `rest` times as long as the batch took: a busy server is given more time. Raises as `prune` does.
    """
    async with aclosing(prune(session, rules, dry_run=dry_run)) as batches:
        async for batch in _paced(batches, clock, rest):
            tally.rows += batch.rows
            tally.pruned_seq = batch.pruned_seq
    if viewed and not dry_run:
        async with aclosing(forget_viewed(session)) as counts:
            async for count in _paced(counts, clock, rest):
                tally.viewed += count


async def prune(session: Connection, rules: Rules, *, dry_run: bool = False) -> AsyncGenerator[Batch, None]:
    """Walk the old end of the log once, a batch for each step; the caller sets the pace. On a session of its own.

    Rows that are stamped meanwhile stay: they may not be delivered yet, however old the date is that they were given.

    Raises DatabaseUnavailableError, also if a lock is not to be had in a second, or if something of the database's own (a foreign
    key, a trigger) keeps a row: what went until then is gone, with its position.
    """
    await session.execute(query("prune_session"))
    (cutoff,) = await _one(session, "prune_cutoff", {"seconds": rules.older_than})
    gone, log_end = await _one(session, "pruned_seq")
    what: dict[str, Any] = {"cutoff": cutoff, "keep_unread": rules.keep_unread}
    after, ended = 0, False
    while not ended:
        limits = {"after": after, "log_end": log_end, "page": BATCH_ROWS, "budget": BATCH_BYTES}
        ids, upto, after, ended = await _one(session, "prune_old", what | limits)
        rows = len(ids or ())
        if dry_run:
            gone = max(gone, upto or 0)
        elif ids:
            (gone,) = await _one(session, "prune_forget", {"upto": upto})
            (rows,) = await _one(session, "prune_delete", what | {"ids": ids, "upto": upto})
        yield Batch(rows, gone)


async def forget_viewed(session: Connection) -> AsyncGenerator[int, None]:
    """Walk once through what users have viewed of rows for everyone; entries whose row is gone, however it went, go too: how many, by step."""
    entry: dict[str, Any] = {"user_id": None, "id": None}
    while True:
        async with limited("clearing what was viewed"):
            parameters = entry | {"page": VIEWED_PAGE}
            row = await (await session.execute(query("prune_viewed"), parameters, prepare=False)).fetchone()
        if row is None:
            return
        entry = {"user_id": row[0], "id": row[1]}
        yield int(row[2])


_Step = TypeVar("_Step")


async def _paced(steps: AsyncGenerator[_Step, None], clock: Clock, rest: float) -> AsyncGenerator[_Step, None]:
    began = clock.now()
    async for step in steps:
        yield step
        await clock.sleep(min((clock.now() - began) * rest, LONGEST_PAUSE))
        began = clock.now()


async def _one(session: Connection, name: str, parameters: dict[str, Any] | None = None) -> tuple[Any, ...]:
    async with limited("pruning"):
        row = await (await session.execute(query(name), parameters)).fetchone()
    if row is None or row[-1] is None:
        raise DatabaseUnfitError("The table rowcast.state is empty. Run `rowcast migrate`.")
    return row
