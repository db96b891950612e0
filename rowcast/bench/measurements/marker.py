"""Rows that several measurements insert by the way, and waiting for the log to have all of them."""

from __future__ import annotations

import time

from db.queries import query
from rowcast.bench.site import Session

_LOOK_EVERY = 0.01


def many(sql: Session, rows: int, users: int | None, *, insert: str = "bench_many") -> None:
    """Rows of one statement, for users 1 to `users` in turn; None: each for everyone."""
    sql.execute(query(insert), {"rows": rows, "users": users})


def to_everyone(sql: Session) -> None:
    """One row for everyone: on every stream, and so in the log, it comes after all that was committed before."""
    many(sql, 1, None)


def wait_until_stamped(sql: Session) -> None:
    """Return once every row has its place in the log."""
    while sql.execute(query("bench_unstamped")).fetchone() == (True,):
        time.sleep(_LOOK_EVERY)
