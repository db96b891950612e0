"""On what it was measured: the machine, and the versions of everything that takes part."""

from __future__ import annotations

import asyncio
import os
import platform
import resource
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from core.errors import RedisUnavailableError
from db.queries import query
from db.scratch import looking
from fanout.connection import RedisConfig, open_connection
from rowcast.bench.site import Site

_PACKAGES = ("rowcast", "quart", "hypercorn", "uvicorn", "uvloop", "psycopg", "redis", "pg-sse")


_ANSWER_WITHIN = 3.0


def machine(site: Site) -> dict[str, str]:
    """Cores, CPU, memory and system; whose servers, and whether their commits reach the disk."""
    with looking(site.settings.database_url) as session:
        row = session.execute(query("bench_server")).fetchone()
    _, fsync, synchronous = row or ("", "", "")
    return {
        "cores": str(_cores()),
        "cpu": _cpu(),
        "memory": f"{_memory():.0f} GiB",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "load": f"{os.getloadavg()[0]:.1f} processes before the run",
        "http server": site.settings.server,
        "servers": f"embedded: {', '.join(site.embedded) or 'none'}; fsync {fsync}, synchronous_commit {synchronous}",
    }


def versions(site: Site) -> dict[str, str]:
    """Of servers, Python and packages; those that are not installed are left out."""
    with looking(site.settings.database_url) as session:
        row = session.execute(query("bench_server")).fetchone()
    found = {
        "postgres": str(row[0] if row else ""),
        **asyncio.run(_redis(site.settings.redis_url)),
        "python": platform.python_version(),
    }
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def raise_descriptor_limit() -> None:
    """As many descriptors as this user may have, here and in every process started from here."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _redis(url: str) -> dict[str, str]:
    """What the first server that the URL names calls itself, if it says."""
    try:
        async with open_connection(RedisConfig(url), name="rowcast-bench") as connection:
            await connection.send([(b"INFO", b"server")])
            told = (await connection.receive(_ANSWER_WITHIN)).decode()
    except RedisUnavailableError:
        return {}
    facts = dict(line.split(":", 1) for line in told.splitlines() if ":" in line)
    name = "valkey" if "valkey_version" in facts else "redis"
    return {name: facts.get(f"{name}_version", "")}


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 0


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _memory() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
