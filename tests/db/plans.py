"""The plan that Postgres runs for a statement of ours, prepared as the driver prepares it: for these values, or for any."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from db.connect import Connection
from db.queries import query


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
    mode = "force_generic_plan" if generic else "force_custom_plan"
    await connection.execute("SELECT set_config('plan_cache_mode', %s, false)", (mode,))
    names = list(dict.fromkeys(_PARAMETER.findall(query(name).as_string())))
    numbered = _PARAMETER.sub(lambda match: f"${names.index(match[1]) + 1}", query(name).as_string())
    numbered = numbered.replace("%%", "%")
    values = sql.SQL(", ").join(sql.Literal(parameters[each]) for each in names)
    await connection.execute(f"PREPARE tested AS {numbered}".encode())
    async with connection.transaction(force_rollback=True):
        explain = sql.SQL("EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) EXECUTE tested ({})").format(values)
        row = await (await connection.execute(explain)).fetchone()
    await connection.execute("DEALLOCATE tested")
    assert row is not None
    return list(_nodes(row[0][0]["Plan"]))


_PARAMETER = re.compile(r"%\((\w+)\)s")


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
