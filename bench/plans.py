"""Statements whose plan is to be shown, and what is to be shown of it."""

from __future__ import annotations

from typing import Any

import psycopg

from db.outbox import claim_parameters
from tests.db.plans import plan_text

# What EXPLAIN says below a step, and we leave out.
_DETAILS = (
    "Heap",
    "Index Searches",
    "Rows Removed",
    "Recheck",
    "Storage",
    "Sort",
    "Workers",
    "Order By",
    "Join Filter",
)

_CLAIM: dict[str, Any] = claim_parameters(batch=1000)
PLANS: dict[str, tuple[str, dict[str, Any]]] = {
    "replay": ("replay", {"upto": None, "page": 500, "budget": 1 << 20, "unread": False, "bare": False, "after": 0}),
    "list": ("list", {"upto": 2**63 - 1, "page": 50, "budget": 4 << 20}),
    "list of what is unread": ("list_unread", {"upto": 2**63 - 1, "page": 50, "budget": 4 << 20}),
    "unread count": ("unread", {}),
    # The last: it leaves dead entries in every index.
    "claim of 1,000 rows": ("claim", _CLAIM),
}


async def plan(address: str, name: str, parameters: dict[str, Any]) -> list[str]:
    """The plan for user 17 as a block of Markdown, short; on a table in which a thousand rows wait if it is the claim's."""
    given = parameters | {"user_id": 17, "viewer": 17}
    async with await psycopg.AsyncConnection.connect(address, autocommit=True, prepare_threshold=None) as sql:
        if name == "claim":
            await sql.execute(
                "INSERT INTO public.notifications (user_id, message) SELECT i, 'new' FROM generate_series(1, 1000) AS i"
            )
        return [f"    {line}" for line in steps(await plan_text(sql, name, given))]


def steps(lines: list[str]) -> list[str]:
    """Of a plan the steps that read or write a table of ours, with what they look for and how many pages it took; and the whole."""
    kept = lines[:2]
    ours = False
    for line in lines[2:]:
        words = line.strip()
        if "(cost=" in line:
            ours = " on notifications" in line or " on viewed" in line
            kept += [line] if ours else []
        elif (ours and words.startswith(("Index Cond", "TID Cond", "Filter", "Buffers"))) or "Time:" in line:
            kept.append(line)
        elif not words.startswith(_DETAILS):
            ours = False
    return kept
