"""What takes as long as a table is large is done ahead of its migration and beside the writers: an index can be built so, but in no transaction.

Each step may be done twice. A run that is killed in the middle leaves a column that nobody uses yet, and an index that the next run builds anew.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg

from db.queries import query

# Bytes. A smaller table is read in a moment, within the migration.
LARGE = 64 << 20


def prepare(session: psycopg.Connection[Any], migration: str, say: Callable[[str], None]) -> None:
    """Before that migration is applied, on the session that holds the migrators' lock."""
    if migration == "0006_born":
        _build_born_index(session, say)


def _build_born_index(session: psycopg.Connection[Any], say: Callable[[str], None]) -> None:
    row = session.execute(query("born_ahead"), {"large": LARGE}).fetchone()
    large, half_built = row or (False, False)
    if half_built:
        session.execute(query("lock_timeout"), {"timeout": "0"})  # no INSERT queues up behind this wait
        session.execute(query("born_drop"))
        session.execute(query("lock_timeout"), {"timeout": "3s"})
    if not large:
        return
    session.execute(query("born_column"))
    say("Building an index while writers go on: the table is read, and transactions that run now are waited for.")
    # No INSERT queues up behind this wait.
    session.execute(query("lock_timeout"), {"timeout": "0"})
    session.execute(query("born_index"))
    session.execute(query("lock_timeout"), {"timeout": "3s"})
