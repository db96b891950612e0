"""Serve an ASGI app on sockets of ours with Hypercorn, and stop it in bounded time.

Hypercorn alone never stops on Python ≥ 3.12.1 while a connection is open: its streams must have ended before, and what is open
after that is cut.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from logging import getLogger

import structlog
from hypercorn.asyncio import serve
from hypercorn.config import Config
from quart import Quart

_log = structlog.get_logger("server")

# Seconds, of the 5 a stop may take: for Hypercorn to close what is left once all streams have ended.
CLOSE_TIMEOUT = 1.0
BACKLOG = 4096


async def serve_until(
    app: Quart,
    sockets: Sequence[socket.socket],
    stopping: asyncio.Event,
    drain: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Serve until `stopping` is set; then `drain` (which ends open streams), then close, at most a second later."""
    drained = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        server = tasks.create_task(serve(app, _config(sockets), shutdown_trigger=drained.wait), name="http server")
        await stopping.wait()
        if drain is not None:
            await drain()
        drained.set()
        _, open_ones = await asyncio.wait({server}, timeout=CLOSE_TIMEOUT)
        if open_ones:
            _log.info("server.cut", why="connections were still open")
            server.cancel()


async def end_leftovers() -> None:
    """Cancel what Hypercorn left behind, as often as it takes: a connection that can't be flushed swallows the first one or two."""
    for _ in range(5):
        left = asyncio.all_tasks() - {asyncio.current_task()}
        if not left:
            return
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=0.05)


def _config(sockets: Sequence[socket.socket]) -> Config:
    config = Config()
    # Hypercorn closes what it serves on: give it descriptors of its own.
    config.bind = [f"fd://{os.dup(listening.fileno())}" for listening in sockets]
    config.backlog = BACKLOG
    config.graceful_timeout = CLOSE_TIMEOUT
    config.keep_alive_timeout = 30
    config.include_server_header = False
    config.accesslog = None
    config.errorlog = getLogger("hypercorn.error")
    return config
