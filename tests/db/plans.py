"""The plan that Postgres runs for a statement of ours, prepared as the driver prepares it: for these values, or for any."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, LiteralString

from psycopg import AsyncConnection, sql

from db.connect import Connection
from db.queries import query
from db.readers import Reader


@dataclass(frozen=True, slots=True)
class Node:
    """One step of a plan: what it did, on which table or index, how many rows it looked at, and how many pages with what is below it;
    `ran`: it was not only planned."""

    kind: str
    table: str | None
    index: str | None
    rows: int
    pages: int
    ran: bool


@asynccontextmanager
async def reading(address: str, reader: Reader) -> AsyncIterator[Connection]:
    """A session like one of the web's, in role rowcast_web and behind row-level security, that may see what `reader` may."""
    async with await AsyncConnection.connect(address, autocommit=True) as connection:
        await connection.execute("SET ROLE rowcast_web")
        parameters = (reader.user, reader.users)
        await connection.execute(
            "SELECT set_config('rowcast.user', %s, false), set_config('rowcast.users', %s, false)", parameters
        )
        yield connection


async def plan_of(connection: Connection, name: str, parameters: Mapping[str, object], *, generic: bool) -> list[Node]:
    """Run the statement `name`, roll it back, and return the steps of its plan, the whole statement first."""
    await _plan_for(connection, generic=generic)
    (plan,) = await _explained(connection, name, parameters, "ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON")
    return list(_nodes(plan[0]["Plan"]))


async def plan_text(
    connection: Connection, name: str, parameters: Mapping[str, object], *, generic: bool = False
) -> list[str]:
    """The lines that EXPLAIN (ANALYZE, BUFFERS) prints for the statement `name`; it is rolled back."""
    await _plan_for(connection, generic=generic)
    return await _explained(connection, name, parameters, "ANALYZE, BUFFERS, TIMING OFF")


async def _plan_for(connection: Connection, *, generic: bool) -> None:
    mode = "force_generic_plan" if generic else "force_custom_plan"
    await connection.execute("SELECT set_config('plan_cache_mode', %s, false)", (mode,))


async def _explained(
    connection: Connection, name: str, parameters: Mapping[str, object], options: LiteralString
) -> list[Any]:
    names = list(dict.fromkeys(_PARAMETER.findall(query(name).as_string())))
    numbered = _PARAMETER.sub(lambda match: f"${names.index(match[1]) + 1}", query(name).as_string())
    numbered = numbered.replace("%%", "%")
    values = sql.SQL(", ").join(sql.Literal(parameters[each]) for each in names)
    await connection.execute(f"PREPARE tested AS {numbered}".encode())
    async with connection.transaction(force_rollback=True):
        explain = sql.SQL("EXPLAIN (") + sql.SQL(options) + sql.SQL(") EXECUTE tested ({})").format(values)
        rows = await (await connection.execute(explain)).fetchall()
    await connection.execute("DEALLOCATE tested")
    return [row[0] for row in rows]


_PARAMETER = re.compile(r"%\((\w+)\)s")


def _nodes(plan: dict[str, Any]) -> Iterator[Node]:
    pages = int(plan.get("Shared Hit Blocks", 0)) + int(plan.get("Shared Read Blocks", 0))
    # A bitmap scan names its table in one step and its index in the one below.
    below = [child.get("Index Name") for child in plan.get("Plans", []) if child["Node Type"] == "Bitmap Index Scan"]
    index = plan.get("Index Name") or next(iter(below), None)
    loops = plan.get("Actual Loops", 1)
    seen = sum(plan.get(name, 0) for name in ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck"))
    yield Node(plan["Node Type"], plan.get("Relation Name"), index, round(seen * loops), pages, loops > 0)
    for child in plan.get("Plans", []):
        yield from _nodes(child)


def on(nodes: list[Node], table: str) -> list[Node]:
    """The steps that read that table."""
    return [node for node in nodes if node.table == table]
