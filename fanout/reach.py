"""From a URL to a connection: the first of several addresses that answers, or the server that Sentinels call the primary.

A Sentinel that answers may be out of date. Who must have the primary asks the server itself, and after a refusal comes here again, where
the next Sentinel is asked first.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from itertools import count

import structlog

from core.errors import RedisUnavailableError, RedisUnfitError
from fanout.connection import CONNECT_TIMEOUT, RedisConfig, RedisConnection, open_connection
from fanout.redis_url import read_url
from fanout.sentinels import ask_sentinels

_log = structlog.get_logger("redis")

# Few buckets on many nodes leave nodes idle; one bucket is right for one server only.
_FEW = 1
_turns = count()


@asynccontextmanager
async def open_redis(
    config: RedisConfig, *, name: str, timeout: float = CONNECT_TIMEOUT
) -> AsyncIterator[RedisConnection]:
    """Connect to what `config` leads to, hand over, close; each server gets `timeout` seconds. Raises as open_connection does."""
    async with AsyncExitStack() as stack:
        *others, last = await _places(config)
        for place in others:
            try:
                connection = await stack.enter_async_context(open_connection(place, name=name, timeout=timeout))
            except RedisUnavailableError:
                continue
            break
        else:
            connection = await stack.enter_async_context(open_connection(last, name=name, timeout=timeout))
        yield connection


async def check_redis(config: RedisConfig, buckets: int = 0) -> None:
    """Raise RedisUnfitError if the server can't carry Rowcast, RedisUnavailableError if it does not answer; say what could be better."""
    async with open_redis(config, name="rowcast-check") as connection:
        told = await connection.hello(CONNECT_TIMEOUT)
        if told.mode == "sentinel":
            raise RedisUnfitError("ROWCAST_REDIS_URL leads to a Sentinel: write redis+sentinel://host:26379/NAME.")
        await connection.send([(b"COMMAND", b"INFO", b"SPUBLISH")])
        if not (reply := await connection.receive(CONNECT_TIMEOUT)) or not reply[0]:
            raise RedisUnfitError
        target = read_url(config.url)
        if told.clustered and target.primary is not None:
            raise RedisUnfitError(
                "ROWCAST_REDIS_URL names Sentinels, and they lead to a node of a cluster: write redis://node:6379."
            )
        if not told.clustered and target.primary is None and len(target.addresses) > 1:
            raise RedisUnfitError(
                "ROWCAST_REDIS_URL has several addresses, which is for a cluster, and this Redis is none: write one of them, "
                "or redis+sentinel://… if Sentinels watch over it."
            )
        if told.clustered:
            await _check_slots(connection)
            if buckets == _FEW:
                _log.warning("cluster.one_bucket", hint="all users are on one node of the cluster; see docs/redis.md")


async def _check_slots(connection: RedisConnection) -> None:
    try:
        await connection.slots(CONNECT_TIMEOUT)
    except RedisUnavailableError as error:
        raise RedisUnfitError(
            f"This node of a cluster does not tell who serves which slot, and Rowcast's user must be allowed to ask: "
            f"ACL SETUSER … +cluster|slots +cluster|info. ({error})"
        ) from error


async def _places(config: RedisConfig) -> list[RedisConfig]:
    """What to try, in this order."""
    if config.at is not None:
        return [config]
    target = read_url(config.url)
    if target.primary is None:
        return [replace(config, at=address) for address in target.addresses] or [config]
    return [replace(config, at=await ask_sentinels(config, target, next(_turns)))]
