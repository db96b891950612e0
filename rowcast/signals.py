"""SIGINT and SIGTERM as a clean end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any

from core.supervise import bare_errors


async def until_signalled(work: Coroutine[Any, Any, None]) -> None:
    """Run `work` to its end, or cancel it, once, at the first SIGINT, SIGTERM or SIGHUP, let it clean up, and return.

    A RowcastError comes out bare, however many task groups it went through.
    """
    loop = asyncio.get_running_loop()
    try:
        with bare_errors():
            async with asyncio.TaskGroup() as group:
                task = group.create_task(work, name="until signalled")
                for number in _ending_signals():
                    loop.add_signal_handler(number, _cancel_once(task))
    finally:
        for number in _ending_signals():
            loop.remove_signal_handler(number)


def stop_on_signals(stop: Callable[[], None]) -> None:
    """Call `stop` on SIGTERM and SIGINT, from within the running event loop."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)


def _ending_signals() -> list[signal.Signals]:
    """Not SIGHUP where `nohup` wants it ignored."""
    hang_up = [] if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else [signal.SIGHUP]
    return [signal.SIGINT, signal.SIGTERM, *hang_up]


def _cancel_once(task: asyncio.Task[None]) -> Any:
    def cancel() -> None:
        if not task.cancelling():
            task.cancel()

    return cancel
