"""The leader lock: an advisory lock of the session, so that it is gone the moment the session is."""

from __future__ import annotations

import psycopg

from core.errors import RowcastError
from db.connect import Connection, limited
from db.locks import LEADER, NAMESPACE
from db.queries import query

_LOCK = {"namespace": NAMESPACE, "lock": LEADER}


class NotAllowedError(RowcastError):
    """The leader hangs, and this role may not end its session: run both bridges as one role, or grant it pg_signal_backend."""


async def try_lead(session: Connection) -> bool:
    """Take the leader lock if it is free; never waits."""
    async with limited("asking for the leader lock"):
        row = await (await session.execute(query("try_lock"), _LOCK)).fetchone()
    return bool(row and row[0])


async def stop_leading(session: Connection) -> None:
    """Give the lock up."""
    async with limited("giving up the leader lock"):
        await session.execute(query("unlock"), _LOCK)


async def end_stuck_leader(session: Connection, *, patience: float, idle: float) -> list[int]:
    """End the session that holds the lock if its last statement began more than `patience` seconds ago and still runs, or has been over
    for more than `idle` seconds; the pids ended.

    Raises NotAllowedError where this role may not.
    """
    limits = {"patience": f"{patience} s", "idle": f"{idle} s"}
    async with limited("looking at the leader"):
        stuck = await (await session.execute(query("stuck_leader"), _LOCK | limits)).fetchall()
        ended = []
        for (pid,) in stuck:
            try:
                await session.execute(query("end_session"), {"pid": pid})
            except psycopg.errors.InsufficientPrivilege as error:
                raise NotAllowedError from error
            ended.append(int(pid))
    return ended
