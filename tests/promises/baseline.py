"""What a fault may not leave behind: subscriptions and connections at Redis, open files and memory of our processes."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

import psutil
from redis.asyncio import Redis

from tests.fanout.listening import ask
from tests.rig import Process
from tests.waiting import until

# A pool may have opened what it is allowed to; Python gives little of its memory back.
MORE_FILES = 8
MORE_MEMORY = 64 << 20


@dataclass(frozen=True, slots=True)
class Usage:
    """Open files and bytes of memory of one process."""

    files: int
    memory: int


def usage(process: Process) -> Usage:
    """As the system tells it, without connections that idle clients have closed: Hypercorn closes those when its keep-alive time is over."""
    seen = psutil.Process(process.pid)
    closed = sum(one.status == psutil.CONN_CLOSE_WAIT for one in seen.net_connections("tcp"))
    return Usage(seen.num_fds() - closed, seen.memory_info().rss)


async def at_redis(url: str) -> tuple[dict[bytes, int], Counter[str]]:
    """How many subscribe each channel, and how many connections each of our names has."""
    async with Redis.from_url(url) as admin:
        channels = await ask(admin, "PUBSUB", "SHARDCHANNELS")
        counts = await ask(admin, "PUBSUB", "SHARDNUMSUB", *channels)
        clients: bytes = await ask(admin, "CLIENT", "LIST")
    return dict(zip(counts[::2], counts[1::2], strict=True)), Counter(re.findall(r" name=(\S+)", clients.decode()))


@dataclass(frozen=True, slots=True)
class Baseline:
    """What was in use before."""

    redis_url: str
    redis: tuple[dict[bytes, int], Counter[str]]
    processes: dict[int, tuple[Process, Usage]]

    @classmethod
    async def of(cls, redis_url: str, *processes: Process) -> Baseline:
        return cls(
            redis_url, await at_redis(redis_url), {process.pid: (process, usage(process)) for process in processes}
        )

    async def returns(self) -> None:
        """Wait until Redis has exactly what it had, and no process holds on to more."""
        try:
            await until(self._is_back, timeout=10)
        except TimeoutError:
            raise AssertionError(f"{self.redis} became {await at_redis(self.redis_url)}") from None
        for process, before in self.processes.values():
            after = usage(process)
            assert after.files <= before.files + MORE_FILES, process.arguments
            assert after.memory <= before.memory + MORE_MEMORY, process.arguments

    async def _is_back(self) -> bool:
        return await at_redis(self.redis_url) == self.redis
