"""Who may pass a backlog: users who have nothing in it, for the rows that came after it.

Order is promised for each stream alone. So while a backlog is stamped from its old end, a row that shares no stream with it need not wait.
"""

from __future__ import annotations

from dataclasses import dataclass

from db.connect import Connection, limited
from db.outbox import Pass, one
from db.queries import query

# A backlog of more rows or users than these takes too long to look at, or too much memory to remember; nobody passes it.
BACKLOG_ROWS = 1_000_000
BACKLOG_USERS = 100_000
# So many of its newest rows are taken for what came after it: who has come by the time that one looks is no part of what one looks at.
TAIL_ROWS = 500
# What came after it is looked for before each claim; what goes beyond these is delayed.
NEW_ROWS = 10_000
NEW_USERS = 500


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waited to be stamped in a snapshot (its text) up to an id, all but the newest: a hash of each user that it had rows for.

    None if some were for everyone, whom nobody may pass, or if there were too many to be known.
    """

    snapshot: str
    upto: int
    users: frozenset[int] | None


async def look_at_backlog(session: Connection) -> Backlog:
    """What waits to be stamped now; on the session that claims."""
    limits = {"rows": BACKLOG_ROWS, "users": BACKLOG_USERS, "tail": TAIL_ROWS}
    snapshot, upto, hashes = await one(session, "backlog", limits, doing="looking at a backlog")
    return Backlog(snapshot, upto, None if hashes is None else frozenset(hashes))


@dataclass(frozen=True, slots=True)
class Newcomers:
    """Who came after a backlog: leave for those who have nothing in it; `others` came too; `many`: more than were looked at."""

    leave: Pass
    others: bool
    many: bool


async def newcomers(session: Connection, backlog: Backlog) -> Newcomers:
    """Who has rows that came after the backlog; on the session that claims. Whose user shares a hash with another one only waits."""
    parameters = {"since": backlog.snapshot, "upto": backlog.upto, "rows": NEW_ROWS, "users": NEW_USERS}
    async with limited("looking for what came after a backlog"):
        rows = await (await session.execute(query("newcomers"), parameters)).fetchall()
    known = backlog.users
    users = [] if known is None else [user for user, hashed, _ in rows if hashed not in known]
    many = len(rows) >= NEW_USERS or any(count >= NEW_ROWS for *_, count in rows[:1])
    return Newcomers(Pass(backlog.snapshot, backlog.upto, users), len(users) < len(rows), many)
