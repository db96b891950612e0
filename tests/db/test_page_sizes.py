"""A page is bounded by what is made of it, also where Postgres keeps that compressed: nobody holds more in memory than a few times its budget."""

from __future__ import annotations

from typing import Any

import pytest

from db.connect import Connection
from db.outbox import NOTHING_HELD, SOURCES, claim
from db.queries import query

pytestmark = pytest.mark.every_postgres

BUDGET = 1 << 20
LONG = 300_000
EVERYTHING: dict[str, Any] = {"after": 0, "upto": 2**63 - 1, "page": 1000, "budget": BUDGET}
PAGES: dict[str, dict[str, Any]] = {
    "replay": {"user_id": 1, "unread": False, "bare": False},
    "replay_many": {
        "user_ids": "{1}",
        "afters": "{0}",
        "uptos": "{9223372036854775807}",
        "unreads": "{f}",
        "total": 4 * BUDGET,
    },
    "reread": {"user_ids": "{1}"},
    "read_range": {},
    "list": {"viewer": 1},
    "list_unread": {"viewer": 1},
}


async def test_a_page_of_compressed_rows_is_bounded(bridge: Connection, other: Connection) -> None:
    kinds = await other.execute("SELECT enumvals FROM pg_settings WHERE name = 'default_toast_compression'")
    [(compressions,)] = await kinds.fetchall()
    await other.execute(f"SET default_toast_compression = {'lz4' if 'lz4' in compressions else 'pglz'}")
    await other.execute(
        "INSERT INTO notifications (user_id, message, data) SELECT 1, '', to_jsonb(repeat('x', %s)) FROM generate_series(1, 100)",
        (LONG,),
    )
    await claim(bridge, SOURCES[0], NOTHING_HELD, batch=1000)
    for name, more in PAGES.items():
        rows = await (await other.execute(query(name), EVERYTHING | more)).fetchall()
        texts = [row[-1] for row in rows if row[-1]]
        assert len(texts) > 1, name
        assert sum(map(len, texts)) < 11 * BUDGET + LONG, name
