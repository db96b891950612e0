"""Is this database fit for bridge and web? Asked when they start; `rowcast migrate` asks its own questions of the same survey.

A problem is one sentence that says what to do (DatabaseUnfitError); a Postgres that is away is another matter (DatabaseUnavailableError).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from psycopg.conninfo import make_conninfo
from psycopg.rows import class_row

from core.user_ids import UserIdType
from db import survey as judge
from db.connect import Connection, limited
from db.migrations import highest, latest
from db.poolers import require_own_session
from db.queries import query
from db.survey import Survey

Part = Literal["bridge", "web", "pruner"]


@dataclass(frozen=True, slots=True)
class DatabaseFacts:
    """What bridge and web need to know of a database. `server_version` is as 180006, `migration` the number it is at."""

    user_id_type: UserIdType
    buckets: int
    server_version: int
    migration: int


async def inspect(connection: Connection, *, part: Part | None = None, prunes: bool = False) -> DatabaseFacts:
    """The facts of this database, with the rights of `part` checked too if it is named, and those to prune if it does that as well.

    Raises DatabaseUnfitError (somebody must change something first) or DatabaseUnavailableError (try again).
    """
    judge.require_version(connection.info.server_version)
    async with limited("inspecting the database"):
        survey = await _survey(connection)
        judge.require_primary(survey)
        if connection.info.backend_pid != survey.pid:
            await require_own_session(_address(connection))
        migration = await _migration(connection, survey)
        user_id_type = judge.require_shape(survey)
        judge.require_no_flaws(await _rows(connection, "flaws"))
        for each in ([part] if part else []) + (["pruner"] if prunes else []):
            lacking = await _rows(connection, "rights", {"part": each})
            judge.require_rights(survey, each, [right for (right,) in lacking])
        [(buckets,)] = await _rows(connection, "state")
    return DatabaseFacts(user_id_type, buckets, connection.info.server_version, migration)


async def _migration(connection: Connection, survey: Survey) -> int:
    """The number of the last migration, which must be the one this code knows."""
    applied: list[str] = []
    if survey.has_ledger:
        judge.require_readable(survey)
        applied = [name for (name,) in await _rows(connection, "applied")]
    judge.require_migrated(highest(applied), latest())
    return highest(applied)


async def _survey(connection: Connection) -> Survey:
    async with connection.cursor(row_factory=class_row(Survey)) as cursor:
        await cursor.execute(query("survey"))
        [survey] = await cursor.fetchall()
    return survey


async def _rows(
    connection: Connection, name: str, parameters: dict[str, object] | None = None
) -> list[tuple[Any, ...]]:
    return await (await connection.execute(query(name), parameters)).fetchall()


def _address(connection: Connection) -> str:
    """The libpq string this connection was made with."""
    return make_conninfo("", **connection.info.get_parameters(), password=connection.info.password)
