"""Waiting for states, and running the parts that run for ever, inside a test."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

DEADLINE = 30.0


async def until(condition: Callable[[], bool | Awaitable[bool]], *, timeout: float = DEADLINE) -> None:
    """Wait for a state that nobody announces: look again on every few turns of the event loop, then ever more seldom."""
    pause = 0.002
    async with asyncio.timeout(timeout):
        while True:
            found = condition()
            if inspect.isawaitable(found):
                found = await found
            if found:
                return
            await asyncio.sleep(pause)  # the one place that looks again; everything else awaits something
            pause = min(pause * 1.1, 0.03)


async def turns(count: int = 20) -> None:
    """Let everything that is ready run, some turns long: for showing that nothing happens."""
    for _ in range(count):
        await asyncio.sleep(0)


@asynccontextmanager
async def running(*parts: Coroutine[Any, Any, Any]) -> AsyncIterator[list[asyncio.Task[Any]]]:
    """Run these until the end of the block. What one of them raises, or the block, is raised here, plain."""
    try:
        async with asyncio.TaskGroup() as tasks:
            started = [tasks.create_task(part) for part in parts]
            try:
                yield started
            finally:
                for task in started:
                    task.cancel()
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from None
