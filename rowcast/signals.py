"""SIGINT and SIGTERM as a clean end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any

from core.errors import RowcastError


async def until_signalled(work: Coroutine[Any, Any, None]) -> None:
    """Run `work` to its end, or cancel it, once, at the first SIGINT, SIGTERM or SIGHUP, let it clean up, and return.

    A RowcastError comes out bare, however many task groups it went through.
    """
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(work, name="until signalled")
            for number in _ending_signals():
                loop.add_signal_handler(number, _cancel_once(task))
    except BaseExceptionGroup as error:
        if found := _first_of_ours(error):
            raise found from error
        raise
    finally:
        for number in _ending_signals():
            loop.remove_signal_handler(number)


def _ending_signals() -> list[signal.Signals]:
    """Not SIGHUP where `nohup` wants it ignored."""
    hang_up = [] if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else [signal.SIGHUP]
    return [signal.SIGINT, signal.SIGTERM, *hang_up]


def _cancel_once(task: asyncio.Task[None]) -> Any:
    def cancel() -> None:
        if not task.cancelling():
            task.cancel()

    return cancel


def _first_of_ours(error: BaseException) -> RowcastError | None:
    if isinstance(error, RowcastError):
        return error
    if isinstance(error, BaseExceptionGroup):
        return next((found for part in error.exceptions if (found := _first_of_ours(part))), None)
    return None
