"""An event loop without a machine: time stands still until somebody moves it, and each callback belongs to a process that can be frozen.

The code under test runs on it unchanged. What is ready runs in asyncio's own order; what a kernel or a network would decide (when a
reply arrives, when a timer fires, when a process gets no more time) is decided by whoever drives the loop.
"""

from __future__ import annotations

import asyncio
import heapq
import sys
from asyncio import events
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from typing import Any

# More callbacks than this without anything from outside: a busy loop.
_TURNS = 20_000


class BusyLoopError(AssertionError):
    """A process goes on and on without waiting for anything."""


class Process:
    """What one operating-system process runs. Frozen, its callbacks wait; killed, for ever."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.ready: deque[asyncio.Handle] = deque()
        self.alive = True
        self.frozen = False
        self.allowance: int | None = None  # callbacks left until it freezes or dies
        self.dies = False

    def __repr__(self) -> str:
        return self.name

    @property
    def runs(self) -> bool:
        """Does it get any time?"""
        return self.alive and not self.frozen


OUTSIDE = Process("outside")
PROCESS: ContextVar[Process] = ContextVar("PROCESS", default=OUTSIDE)


class Loop(asyncio.BaseEventLoop):
    """Virtual time in seconds; `run_ready` runs what can run, `advance_to` makes timers due."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.processes = [OUTSIDE]
        self.failures: list[str] = []  # what would have been printed as an unhandled error
        self.on_end_of_allowance: Callable[[Process], None] = lambda process: None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._timers: list[tuple[float, int, asyncio.TimerHandle, Process]] = []
        self._count = 0

    # What asyncio asks of a loop

    def time(self) -> float:
        return self.now

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        context = context or copy_context()
        handle = asyncio.Handle(callback, args, self, context)
        context.get(PROCESS, OUTSIDE).ready.append(handle)
        return handle

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.now + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        context = context or copy_context()
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._count += 1
        heapq.heappush(self._timers, (when, self._count, handle, context.get(PROCESS, OUTSIDE)))
        return handle

    def create_task(  # type: ignore[override]
        self, coro: Coroutine[Any, Any, Any], *, name: object = None, context: Context | None = None
    ) -> asyncio.Task[Any]:
        task = asyncio.Task(coro, loop=self, name=str(name), context=context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.failures.append(f"{context.get('message')}: {context.get('exception')!r}")

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        pass  # it is passed over once it is due

    # What the driver does

    def start(self, process: Process, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """A task, with all that it starts, of that process."""
        context = copy_context()
        context.run(PROCESS.set, process)
        if process not in self.processes:
            self.processes.append(process)
        return self.create_task(work, name=process.name, context=context)

    def call_in(self, process: Process, callback: Callable[[], object]) -> None:
        """Have the process call it, as a signal handler would."""
        context = copy_context()
        context.run(PROCESS.set, process)
        self.call_soon(callback, context=context)

    def run_ready(self) -> None:
        """Run until everything that is not frozen waits for something outside."""
        turns, busy = 0, True
        while busy:
            busy = False
            for process in self.processes:
                while process.ready and process.runs:
                    busy = True
                    turns += 1
                    if turns > _TURNS:
                        raise BusyLoopError(f"{process} goes on without waiting for anything")
                    self._run_one(process)

    def _run_one(self, process: Process) -> None:
        if process.allowance is not None:
            if process.allowance == 0:
                process.allowance = None
                self.on_end_of_allowance(process)
                return
            process.allowance -= 1
        handle = process.ready.popleft()
        if not handle.cancelled():
            handle._run()

    @property
    def next_timer(self) -> float | None:
        """When the next timer is due; those of the dead never are."""
        while self._timers and (self._timers[0][2].cancelled() or not self._timers[0][3].alive):
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def advance_to(self, when: float) -> None:
        """Let the time pass; timers that it passes are ready, in their order."""
        while (due := self.next_timer) is not None and due <= when:
            self.now = max(self.now, due)
            _, _, handle, process = heapq.heappop(self._timers)
            process.ready.append(handle)
        self.now = max(self.now, when)

    @contextmanager
    def running(self) -> Iterator[None]:
        """As the loop of this thread, so that asyncio finds it."""
        hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(firstiter=None, finalizer=self._finalize)
        events._set_running_loop(self)
        try:
            yield
        finally:
            events._set_running_loop(None)
            sys.set_asyncgen_hooks(*hooks)

    def _finalize(self, generator: AsyncGenerator[Any, Any]) -> None:
        if not self.is_closed():
            self.create_task(generator.aclose())

    def end(self) -> None:
        """Cancel every task, also of the dead, and let each end in its own way."""
        for process in self.processes:
            process.alive, process.frozen, process.allowance = True, False, None
        for _ in range(100):
            for task in list(self._tasks):
                task.cancel()
            self.run_ready()
            if not self._tasks:
                break
            if (due := self.next_timer) is not None:
                self.advance_to(due)
        assert not self._tasks, f"tasks that can't be cancelled: {self._tasks}"
        self.close()
