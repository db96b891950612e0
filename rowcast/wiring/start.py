"""What both do first: wait for Postgres, and refuse servers that can't carry Rowcast."""

from __future__ import annotations

import asyncio

import structlog

from core.clock import Clock
from core.errors import ConfigurationError, DatabaseUnfitError, RedisUnavailableError
from core.supervise import Attempt, supervise
from db.connect import session
from db.preflight import DatabaseFacts, Part, inspect
from fanout.connection import RedisConfig
from fanout.reach import check_redis

_log = structlog.get_logger("rowcast")


async def look_first(
    database_url: str,
    redis: RedisConfig,
    part: Part,
    clock: Clock,
    stopping: asyncio.Event,
    *,
    prunes: bool = False,
) -> DatabaseFacts | None:
    """Wait until Postgres answers; raise at once if it, or a Redis that answers, can't carry Rowcast. None: told to stop meanwhile.

    `prunes`: the rights to delete old rows are asked for too.
    """
    async with asyncio.TaskGroup() as tasks:
        looking = tasks.create_task(_look(database_url, part, clock, prunes), name="first look")
        stopped = tasks.create_task(stopping.wait(), name="stop")
        await asyncio.wait({looking, stopped}, return_when=asyncio.FIRST_COMPLETED)
        looking.cancel()
        stopped.cancel()
    if stopping.is_set():
        return None
    facts = looking.result()
    try:
        await check_redis(redis, facts.buckets)
    except RedisUnavailableError as error:
        _log.warning("redis.away_at_start", reason=str(error))
    return facts


async def _look(database_url: str, part: Part, clock: Clock, prunes: bool) -> DatabaseFacts:
    found: list[DatabaseFacts] = []

    async def look(attempt: Attempt) -> None:
        async with session(database_url, name=f"rowcast-{part}") as connection:
            found.append(await inspect(connection, part=part, prunes=prunes))
        attempt.succeeded()

    await supervise(
        "postgres", look, clock=clock, until=lambda: bool(found), fatal=(DatabaseUnfitError, ConfigurationError)
    )
    return found[0]
