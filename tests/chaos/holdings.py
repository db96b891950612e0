"""What the processes and servers of an ensemble hold on to: memory, descriptors, tasks, sessions, subscriptions, the queue of notifications.

Beside it, and no holding: how many doubles a web process has dropped (`doubles`).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg
from redis.asyncio import Redis
from redis.exceptions import RedisError

from tests.chaos.records import Notebook, Sample, now

_OWN = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'rowcast%'"
_QUEUE = "SELECT ceil(100 * pg_notification_queue_usage())"


INSIDE = Path(__file__).parent / "inside"


def told_inside(folder: Path) -> dict[str, str]:
    """The environment of a process that writes down what only it knows in that folder: see `inside`."""
    return {"PYTHONPATH": str(INSIDE), "CHAOS_INSIDE": str(folder)}


async def holdings(pids: Mapping[str, int], inside: Path, database_url: str, redis_url: str) -> dict[str, float]:
    """Figures by name; `pids` are Rowcast's processes by theirs. Memory in bytes, the queue's use in percent."""
    return _of_processes(pids, inside) | await _of_postgres(database_url) | await _of_redis(redis_url)


def _of_processes(pids: Mapping[str, int], inside: Path) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, pid in pids.items():
        process = psutil.Process(pid)
        found[f"{name} memory"] = process.memory_info().rss
        found[f"{name} descriptors"] = process.num_fds()
        found[f"{name} threads"] = process.num_threads()
        with suppress(FileNotFoundError):  # it has just begun
            said = json.loads((inside / str(pid)).read_text("ascii"))
            found |= {f"{name} tasks": said["tasks"], f"{name} doubles": said["doubles"]}
    return found


async def sample(look: Callable[[], Awaitable[dict[str, float]]], book: Notebook, every: float) -> None:
    """Write down what is held, again and again, whenever it can be seen."""
    while True:
        with suppress(psycopg.Error, RedisError, OSError, psutil.Error, TimeoutError):
            async with asyncio.timeout(every):
                book.note(Sample(now(), await look()))
        await asyncio.sleep(every)


async def _of_postgres(url: str) -> dict[str, float]:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as session:
        sessions = await (await session.execute(_OWN)).fetchone()
        queue = await (await session.execute(_QUEUE)).fetchone()
    assert sessions is not None
    assert queue is not None
    return {"postgres sessions": float(sessions[0]), "notify queue": float(queue[0])}


async def _of_redis(url: str) -> dict[str, float]:
    async with Redis.from_url(url) as redis:
        clients = await redis.client_list()
    return {
        "redis subscriptions": float(sum(int(client.get("ssub", 0)) for client in clients)),
        "redis clients": float(len(clients)),
    }
