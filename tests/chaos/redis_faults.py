"""What befalls Redis, which keeps nothing that matters: killed, frozen, paused, its clients killed, a replica promoted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from redis.asyncio import Redis
from redis.exceptions import RedisError

from tests.chaos.ensemble import Ensemble
from tests.chaos.fault import fault, one_of
from tests.waiting import running


@fault("redis", begins=one_of("empty", "from an older file"))
@asynccontextmanager
async def kill_redis(e: Ensemble, *, begins: str) -> AsyncIterator[None]:
    """kill -9; started again at the end, empty or with what it held before the fault."""
    redis = e.redis.primary
    if begins == "empty":
        redis.forget()
    else:
        await redis.ask("SET", "older", "file")
        await redis.save()
    await redis.kill()
    try:
        yield
    finally:
        await redis.start()


@fault("redis")
@asynccontextmanager
async def freeze_redis(e: Ensemble) -> AsyncIterator[None]:
    """SIGSTOP."""
    e.redis.primary.freeze()
    try:
        yield
    finally:
        e.redis.primary.thaw()


@fault("redis", mode=one_of("ALL", "WRITE"), seconds=one_of(0.3, 1.0, 5.0))
@asynccontextmanager
async def pause_redis(e: Ensemble, *, mode: str, seconds: float) -> AsyncIterator[None]:
    """CLIENT PAUSE, as a failover that somebody started does. (A pause of ALL holds up CLIENT UNPAUSE, too.)"""
    redis = e.redis.primary
    await redis.ask("CLIENT", "PAUSE", int(seconds * 1000), mode)
    try:
        yield
    finally:
        await redis.ask("CLIENT", "UNPAUSE")


@fault(name=one_of("rowcast-web", "rowcast-bridge"), every=one_of(0.05, 0.5))
@asynccontextmanager
async def kill_clients(e: Ensemble, *, name: str, every: float) -> AsyncIterator[None]:
    """CLIENT KILL of all of that name, again and again."""

    async def kill_once() -> None:
        async with Redis.from_url(e.redis.primary.url, socket_timeout=10) as redis:
            for client in await redis.client_list():
                if client["name"] == name:
                    await redis.client_kill_filter(_id=client["id"])

    async with _repeated(kill_once, every):
        yield


@fault(every=one_of(0.1, 1.0))
@asynccontextmanager
async def flush_redis(e: Ensemble, *, every: float) -> AsyncIterator[None]:
    """FLUSHALL, SCRIPT FLUSH and FUNCTION FLUSH, again and again."""

    async def flush_once() -> None:
        for words in (["FLUSHALL"], ["SCRIPT", "FLUSH"], ["FUNCTION", "FLUSH"]):
            await e.redis.primary.ask(*words)

    async with _repeated(flush_once, every):
        yield


@asynccontextmanager
async def _repeated(act: Callable[[], Awaitable[None]], every: float) -> AsyncIterator[None]:
    """Do it again and again, also while Redis does not answer."""

    async def again_and_again() -> None:
        task = asyncio.current_task()
        # redis-py may answer a cancellation with an error of its own, which is then not to be taken for Redis being away.
        while task is not None and not task.cancelling():
            with suppress(RedisError, OSError):
                await act()
            await asyncio.sleep(every)

    async with running(again_and_again()):
        yield


@fault(
    "redis",
    on=lambda shape: shape.replica,
    lag=one_of(0.0, 1.0),
    old=one_of("is gone", "stays"),
    moved=one_of("", "bridge", "web", "web0"),
)
@asynccontextmanager
async def promote_replica(e: Ensemble, *, lag: float, old: str, moved: str) -> AsyncIterator[None]:
    """The replica, which lags so many seconds behind, is the primary; the old one is killed or serves on, and returns as a replica at the end.

    While it serves on only those whose name begins with `moved` are sent to the new one; the rest is stuck until then, if `moved` is "".
    """
    if lag:
        e.redis.stream.black_hole()
        await asyncio.sleep(lag)
    await e.redis.promote()
    e.lead()
    if old == "is gone":
        await e.redis.replica.kill()
    for name, each in e.wires.items():
        if moved and name.startswith(moved) and name.endswith("-redis"):
            each.reset()
    try:
        yield
    finally:
        await e.redis.follow()
