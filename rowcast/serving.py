"""Serve an ASGI app on sockets of ours, and stop it in bounded time, whichever server does the talking.

No server alone stops while streams are open (Hypercorn never does on Python ≥ 3.12.1): they are ended before, and what is open after that
is cut.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import os
import socket
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Literal, TypeAlias

import structlog

from core.errors import ConfigurationError
from rowcast.door import Bounds

_log = structlog.get_logger("server")

App: TypeAlias = Callable[[Any, Any, Any], Awaitable[None]]
ServerName: TypeAlias = Literal["hypercorn", "uvicorn"]
# Serves the app on these sockets, which it closes, until the event is set; then takes nothing new and returns once all connections are
# closed, or were cut after CLOSE_TIMEOUT.
Serve: TypeAlias = Callable[[App, Sequence[socket.socket], asyncio.Event, Bounds], Coroutine[Any, Any, None]]

UNBOUNDED = Bounds()
# Seconds, of the 5 a stop may take: for the server to close what is left once all streams have ended.
CLOSE_TIMEOUT = 1.0


def require_server(name: ServerName) -> None:
    """Raise ConfigurationError if that server is not installed; loads nothing."""
    if importlib.util.find_spec(name) is None:
        raise ConfigurationError(
            f"ROWCAST_SERVER (or --server) is {name}, which is not installed. Install it with: pip install 'rowcast[{name}]'"
        )


async def serve_until(
    app: App,
    sockets: Sequence[socket.socket],
    stopping: asyncio.Event,
    drain: Callable[[], Awaitable[None]] | None = None,
    *,
    server: ServerName = "hypercorn",
    bounds: Bounds = UNBOUNDED,
) -> None:
    """Serve until `stopping` is set; then `drain` (which ends open streams), then close, at most a second later."""
    drained = asyncio.Event()
    # A server closes what it serves on: give it descriptors of its own.
    own = [socket.socket(fileno=os.dup(listening.fileno())) for listening in sockets]
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_serve(server)(app, own, drained, bounds), name="http server")
        await stopping.wait()
        if drain is not None:
            await drain()
        drained.set()


async def open_too_long(serving: set[asyncio.Task[None]]) -> bool:
    """Whether these, of a server that was told to close, still go on when their connections must be cut."""
    if not serving:
        return False
    _, open_ones = await asyncio.wait(serving, timeout=CLOSE_TIMEOUT)
    if open_ones:
        _log.info("server.cut", why="connections were still open")
    return bool(open_ones)


async def end_leftovers() -> None:
    """Cancel what a server left behind."""
    await end(asyncio.all_tasks() - {asyncio.current_task()})


async def end(tasks: set[asyncio.Task[Any]]) -> None:
    """Cancel them as often as it takes: a connection that can't be flushed swallows the first one or two."""
    asyncio.get_running_loop().set_exception_handler(_tell_but_of_cancelled)
    for _ in range(5):
        if not tasks:
            return
        for task in tasks:
            task.cancel()
        _, tasks = await asyncio.wait(tasks, timeout=0.05)


def _tell_but_of_cancelled(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """asyncio before Python 3.12 takes a connection whose task was cancelled for an error."""
    if not isinstance(context.get("exception"), asyncio.CancelledError):
        loop.default_exception_handler(context)


def _serve(name: ServerName) -> Serve:
    found: Serve = importlib.import_module(f"rowcast.on_{name}").serve
    return found
