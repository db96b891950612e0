"""Tables of any size with the same users in them, so to speak: a hundred rows each, and a hundred rows for everyone."""

from __future__ import annotations

import psycopg

ROWS_PER_USER = 100
FOR_EVERYONE = 100
# One row in ten was not viewed.
_FILL = """
INSERT INTO public.notifications (user_id, message, is_viewed, seq)
SELECT CASE WHEN i %% %(every)s <> 0 THEN i %% %(users)s END, 'message ' || i || repeat(' and what it says', 4),
    i %% %(every)s <> 0 AND (i / %(users)s) %% 10 <> 0, i
FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS i
"""
_FINISH = """
UPDATE rowcast.state SET last_seq = {rows};
SELECT setval('rowcast.seq', {rows});
INSERT INTO rowcast.viewed (user_id, notification_id)
SELECT u, n.id FROM generate_series(0, {users} - 1, 100) AS u, public.notifications AS n WHERE n.user_id IS NULL;
"""
_STEP = 1_000_000


def fill(address: str, rows: int) -> None:
    """Put so many relayed rows into a migrated, empty database, and vacuum it."""
    users = rows // ROWS_PER_USER
    with psycopg.connect(address, autocommit=True) as sql:
        # One that runs meanwhile would keep our own from seeing that all rows are visible to all.
        for table in ("public.notifications", "rowcast.viewed"):
            sql.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = off)".encode())
        sql.execute("ALTER TABLE public.notifications DISABLE TRIGGER USER")
        for first in range(1, rows + 1, _STEP):
            last = min(first + _STEP - 1, rows)
            sql.execute(_FILL, {"every": rows // FOR_EVERYONE, "users": users, "first": first, "last": last})
        for name in (
            "rowcast_keep_born",
            "rowcast_keep_seq",
            "rowcast_ring",
            "rowcast_size_of_changed",
            "rowcast_truncated",
        ):
            sql.execute(f"ALTER TABLE public.notifications ENABLE ALWAYS TRIGGER {name}".encode())
        sql.execute(_FINISH.format(rows=rows, users=users).encode())
        sql.execute("VACUUM ANALYZE")
