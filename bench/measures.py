"""The measurements: each takes a Rowcast and returns named figures. A time is taken before the INSERT is sent."""

from __future__ import annotations

import asyncio
import multiprocessing
import statistics
import time
from collections.abc import AsyncIterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeAlias
from urllib.parse import urlsplit

import psycopg

from tests.rig import Rig

Figures: TypeAlias = dict[str, float]

ROWS = 100
DRAIN_ROWS = 20_000
SECONDS = 3.0
PROCESSES, CLIENTS = 4, 4
_INSERT = "INSERT INTO notifications (user_id, message) VALUES (%s, %s)"
_MILLISECONDS = 1000


async def latency(own: Rig, url: str) -> Figures:
    """From before an INSERT to its event at the client."""
    async with _stream(url, 1) as reader, own.sql() as sql:
        took = []
        for number in range(ROWS):
            began = time.perf_counter()
            await sql.execute(_INSERT, (1, f"row {number}"))
            await reader.readuntil(b"\n\n")
            took.append((time.perf_counter() - began) * _MILLISECONDS)
    took.sort()
    return {
        "p50 (ms)": statistics.median(took),
        "p99 (ms)": took[98],
    }


async def drain(own: Rig, url: str) -> Figures:
    """Many rows of one transaction: from its commit to the last of them at the client."""
    async with _stream(url, 2) as reader, own.sql() as sql:
        await sql.execute(
            "INSERT INTO notifications (user_id, message) SELECT 2, g::text FROM generate_series(1, %s) g",
            (DRAIN_ROWS,),
        )
        committed = time.perf_counter()
        for _ in range(DRAIN_ROWS):
            await reader.readuntil(b"\n\n")
        ended = time.perf_counter()
    return {"rows/s from the commit": DRAIN_ROWS / (ended - committed)}


async def commits(own: Rig) -> float:
    """Rows per second that all clients together commit, from processes of their own so that they are not the limit."""
    with ProcessPoolExecutor(PROCESSES, multiprocessing.get_context("spawn")) as pool:
        counts = await asyncio.gather(
            *(asyncio.get_running_loop().run_in_executor(pool, _write, own.database_url) for _ in range(PROCESSES))
        )
    return sum(counts)


def _write(database_url: str) -> float:
    with ThreadPoolExecutor(CLIENTS) as threads:
        return sum(threads.map(_write_as_one, [database_url] * CLIENTS))


def _write_as_one(database_url: str) -> float:
    with psycopg.connect(database_url, autocommit=True) as sql:
        rows, began = 0, time.perf_counter()
        while (passed := time.perf_counter() - began) < SECONDS:
            sql.execute(_INSERT, (rows % 100, "x"))
            rows += 1
        return rows / passed


@asynccontextmanager
async def _stream(url: str, user: int) -> AsyncIterator[asyncio.StreamReader]:
    """A stream over a bare socket, past its greeting."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=1 << 24)
    writer.write(f"GET /events/{user}?since=now HTTP/1.0\r\nHost: bench\r\n\r\n".encode())
    try:
        await reader.readuntil(b"event: hello\nid: ")
        await reader.readuntil(b"\n\n")
        yield reader
    finally:
        writer.transport.abort()
