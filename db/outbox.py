"""The outbox: rows that have no place in the log yet get one, and a range of the log is read back with its bodies.

The bridge parses no value of a row: what it holds back comes from Postgres as text and goes back as text, a body is JSON that Postgres built.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from core.errors import DatabaseUnavailableError, RowcastError, StaleReadError
from core.events import NOTIFICATION, Event, Range
from db.connect import Connection, limited
from db.literals import array
from db.queries import query

PAGE_ROWS = 1000
PAGE_BYTES = 1 << 20

WAITING = 1
BUSY = 0
# Seconds. Writers ring no longer than this for a bridge that is gone.
RING_FOR = 30


class LogMovedError(DatabaseUnavailableError):
    """The log is not where this term of leadership left it: a dump was restored under it. A new term begins."""


class PrunedError(RowcastError):
    """Rows were pruned before they were read."""


@dataclass(frozen=True, slots=True)
class Source:
    """A table of rows to be stamped: the kind of its events and its two statements (names of queries)."""

    kind: str
    claim: str
    read: str


SOURCES = (Source(kind=NOTIFICATION, claim="claim", read="read_range"),)


@dataclass(frozen=True, slots=True)
class HeldBack:
    """What claims leave out until the next poll: users behind a locked row (a Postgres array literal), and the lowest id left out."""

    users: str = "{}"
    lowest: int | None = None

    def __bool__(self) -> bool:
        return self.lowest is not None


NOTHING_HELD = HeldBack()


@dataclass(frozen=True, slots=True)
class Look:
    """Where a claim looks: at all rows by id, or only at those that are not in the snapshot `since` (its text).

    Of that one nothing was left to be stamped but what is held back, whatever came of later ones.
    """

    since: str | None = None
    everywhere: bool = True


@dataclass(frozen=True, slots=True)
class Pass:
    """Leave to pass a backlog, that is what the snapshot `since` shows up to the id `upto`: for users who have none of it."""

    since: str
    upto: int
    users: Sequence[str]


EVERYWHERE = Look()


@dataclass(frozen=True, slots=True)
class Claim:
    """What one claim did: the range it stamped (None: nothing), whether another would find more, what it had to leave out, and where the
    next is to look; the doorbell's mark as it stood then; and how many seconds the server took for the rows, the commit left out."""

    stamped: Range | None
    rows: int
    more: bool
    held_back: HeldBack
    look: Look = field(compare=False)
    mark: int
    seconds: float = field(compare=False)


async def claim(
    session: Connection,
    source: Source,
    held_back: HeldBack,
    *,
    batch: int,
    log_end: int | None = None,
    look: Look = EVERYWHERE,
    past: Pass | None = None,
) -> Claim:
    """Stamp up to `batch` of the oldest unsequenced rows, durably once this returns; on the session that holds the leader lock.

    `look`: what the claim before this one, on the same session, said. Or `past` a backlog, only the rows of those
    who may pass, none of them if they are more than a batch.

    Raises LogMovedError, with nothing stamped, if the log does not end at `log_end` any more (None: wherever it ends).
    """
    parameters = claim_parameters(held_back, batch=batch, log_end=log_end, look=look, past=past)
    ours, mark, start, end, rows, everywhere, full, users, lowest, snapshot, seconds = await one(
        session, source.claim, parameters, doing="claiming"
    )
    if not ours:
        raise LogMovedError
    held = HeldBack(users, lowest)
    # A full batch of nothing but rows behind one barrier is the end of what can be stamped now.
    more = full and (rows > 0 or held != held_back or not everywhere)
    following = _next_look(look, full=full, held=bool(held), snapshot=snapshot)
    return Claim(Range(start, end) if rows else None, rows, more, held, following, mark, seconds)


def claim_parameters(
    held_back: HeldBack = NOTHING_HELD,
    *,
    batch: int,
    log_end: int | None = None,
    look: Look = EVERYWHERE,
    past: Pass | None = None,
) -> dict[str, Any]:
    """What a source's claim is asked with, as `claim` asks."""
    return {
        "batch": batch,
        "held": held_back.users,
        "lowest": held_back.lowest,
        "log_end": log_end,
        "since": past.since if past else look.since,
        "everywhere": look.everywhere and past is None,
        "passing": past is not None,
        "upto": past and past.upto,
        "newcomers": array(past.users if past else ()),
    }


def _next_look(look: Look, *, full: bool, held: bool, snapshot: str) -> Look:
    """After a claim of that snapshot. Many rows are found by id; what is held back is in no snapshot of which nothing else was left."""
    if full or held:
        return Look(look.since, everywhere=full or look.since is None)
    return Look(snapshot, everywhere=False)


async def term_due(session: Connection) -> float:
    """Seconds to wait before a term is begun, so that none runs ahead of the server's clock."""
    (seconds,) = await one(session, "term_due", doing="looking when a term may begin")
    return float(seconds)


async def start_term(session: Connection, *, above: int = 0) -> Range:
    """Begin a term; the range from the last seq ever given to the term's start, which is the first thing to publish.

    `above`: a seq that is known to have been given, should the log have lost it.
    """
    start, end = await one(session, "start_term", {"above": above}, doing="starting a term")
    return Range(start, end)


async def read_range(session: Connection, source: Source, span: Range) -> AsyncIterator[Event]:
    """The events of `span`, oldest first, read page by page.

    Raises StaleReadError if this server has not got that far, PrunedError if some of them may be gone already.
    """
    after, more = span.start, True
    while more:
        parameters = {"after": after, "upto": span.end, "page": PAGE_ROWS, "budget": PAGE_BYTES}
        async with limited("reading a range"):
            rows = await (await session.execute(query(source.read), parameters)).fetchall()
        if not rows or rows[0][0] < span.end:
            raise StaleReadError
        if rows[0][1] > after:
            raise PrunedError
        more = rows[0][2]
        for _, _, _, seq, user_id, body in rows:
            if seq is not None:
                after = seq
                yield Event(seq, source.kind, user_id, body)


async def set_doorbell(session: Connection, mark: int) -> None:
    """Tell writers to ring (WAITING, for RING_FOR seconds) or not (BUSY); on the session that holds the leader lock."""
    await one(session, "doorbell", {"mark": mark, "seconds": RING_FOR}, doing="setting the doorbell")


async def renew_doorbell(session: Connection) -> None:
    """Have writers ring for RING_FOR seconds more, if they do; on the session that holds the leader lock."""
    await one(session, "renew_doorbell", {"seconds": RING_FOR}, doing="renewing the doorbell")


async def own_xid(session: Connection) -> int:
    """A transaction id given out now."""
    (xid,) = await one(session, "own_xid", doing="taking a transaction id")
    return int(xid)


async def oldest_running(session: Connection) -> int:
    """The oldest transaction id that may still be running."""
    (xid,) = await one(session, "oldest_running", doing="looking for open transactions")
    return int(xid)


async def one(
    session: Connection, name: str, parameters: dict[str, Any] | None = None, *, doing: str
) -> tuple[Any, ...]:
    """The one row of that statement."""
    async with limited(doing):
        row = await (await session.execute(query(name), parameters)).fetchone()
    if row is None:
        raise StaleReadError(f"Postgres returned nothing while {doing}: is rowcast.state empty? Run `rowcast migrate`.")
    return row
