"""The plan that Postgres really ran, as its own auto_explain tells: of a prepared statement, with a plan for these values or for any."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg

from db.connect import Connection
from db.queries import query

_SETTINGS = {
    "client_min_messages": "log",
    "auto_explain.log_min_duration": "0",
    "auto_explain.log_format": "json",
    "auto_explain.log_analyze": "on",
    "auto_explain.log_buffers": "on",
    "auto_explain.log_timing": "off",
}


@dataclass(frozen=True, slots=True)
class Node:
    """One step of a plan: what it did, on which table or index, how many rows it looked at, and how many pages with what is below it."""

    kind: str
    table: str | None
    index: str | None
    rows: int
    pages: int


async def plan_of(connection: Connection, name: str, parameters: Mapping[str, object], *, generic: bool) -> list[Node]:
    """Run the statement `name`, roll it back, and return the steps of its plan, the whole statement first."""
    told: list[str] = []

    def listen(notice: psycopg.errors.Diagnostic) -> None:
        told.append(notice.message_primary or "")

    await connection.execute("LOAD 'auto_explain'")
    for setting, value in _SETTINGS.items():
        await connection.execute("SELECT set_config(%s, %s, false)", (setting, value))
    mode = "force_generic_plan" if generic else "force_custom_plan"
    await connection.execute("SELECT set_config('plan_cache_mode', %s, false)", (mode,))
    connection.add_notice_handler(listen)
    try:
        async with connection.transaction(force_rollback=True):
            await connection.execute(query(name), parameters, prepare=True)
    finally:
        connection.remove_notice_handler(listen)
    plans = [message for message in told if "plan:" in message]
    return list(_nodes(json.loads(plans[-1].split("plan:", 1)[1])["Plan"]))


def _nodes(plan: dict[str, Any]) -> Iterator[Node]:
    pages = int(plan.get("Shared Hit Blocks", 0)) + int(plan.get("Shared Read Blocks", 0))
    # A bitmap scan names its table in one step and its index in the one below.
    below = [child.get("Index Name") for child in plan.get("Plans", []) if child["Node Type"] == "Bitmap Index Scan"]
    index = plan.get("Index Name") or next(iter(below), None)
    seen = sum(plan.get(name, 0) for name in ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck"))
    yield Node(plan["Node Type"], plan.get("Relation Name"), index, round(seen * plan.get("Actual Loops", 1)), pages)
    for child in plan.get("Plans", []):
        yield from _nodes(child)


def on(nodes: list[Node], table: str) -> list[Node]:
    """The steps that read that table."""
    return [node for node in nodes if node.table == table]
