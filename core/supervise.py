"""The one loop that keeps a connection alive: connect, run, say why it ended, wait with jitter, again.

Connecting is inside the guard. The wait doubles while attempts fail and starts over only when the body reported real success
through `Attempt.succeeded`. Each loss is logged once, with its reason, again only when the reason is another, and each return once (as river
`internal/notifier/notifier.go` and graphile/worker `listenForChanges` do).
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import structlog

from core.clock import Clock
from core.errors import RowcastError

_log = structlog.get_logger("supervise")

FIRST_DELAY = 0.1
LONGEST_DELAY = 5.0
# A connection that has not proved itself for so long hangs, whatever its own timeouts allow. Those that idle are pinged each second.
SILENCE = 3.0


@dataclass(slots=True)
class Attempt:
    """One try at being connected; the body calls `succeeded()` when the connection has proved itself, each time anew."""

    name: str
    failures: int
    clock: Clock
    worked: bool = field(default=False, init=False)
    over: bool = field(default=False, init=False)
    _proved: float = field(default=-math.inf, init=False)

    def succeeded(self) -> None:
        if not self.worked and self.failures:
            _log.info("connection.restored", connection=self.name, failures=self.failures)
        self.worked = True
        self._proved = self.clock.now()

    @property
    def lives(self) -> bool:
        """Has the connection proved itself in the last 3 s, and not ended since?"""
        return not self.over and self.clock.now() - self._proved <= SILENCE


def delay_after(failures: int, clock: Clock) -> float:
    """Seconds to wait after that many failures in a row: doubling from 0.1 s to 5 s, each with "equal jitter" (half fixed, half drawn)."""
    ceiling = min(LONGEST_DELAY, FIRST_DELAY * 2 ** min(failures - 1, 16))
    return clock.jitter(ceiling / 2, ceiling)


async def supervise(
    name: str,
    body: Callable[[Attempt], Awaitable[None]],
    *,
    clock: Clock,
    until: Callable[[], bool] = lambda: False,
    fatal: type[RowcastError] | tuple[type[RowcastError], ...] = (),
) -> None:
    """Run `body` again and again, until `until` says so after one of its runs.

    A RowcastError ends one attempt, unless it is `fatal`, which is raised; any other error is a bug and is raised too. `body` may
    return, which counts as a loss without a reason.
    """
    failures = 0
    told: str | None = None
    while True:
        attempt = Attempt(name, failures, clock)
        reason: str | None = None
        try:
            await body(attempt)
        except Exception as error:
            cause = first_cause(error)
            if not isinstance(cause, RowcastError) or isinstance(cause, fatal):
                raise
            reason = str(cause)
        finally:
            attempt.over = True
        if until():
            return
        failures = 1 if attempt.worked else failures + 1
        if reason is not None and (failures == 1 or reason != told):
            _log.warning("connection.lost", connection=name, reason=reason)
            told = reason
        await clock.sleep(delay_after(failures, clock))


@contextmanager
def bare_errors() -> Iterator[None]:
    """Let a RowcastError out as itself, however many task groups it went through."""
    try:
        yield
    except BaseExceptionGroup as group:
        cause = first_cause(group)
        if isinstance(cause, RowcastError):
            raise cause from group
        raise


def first_cause(error: BaseException) -> BaseException:
    """What went wrong inside the task groups. A bug comes before a loss that Rowcast knows how to handle."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    causes = [first_cause(inner) for inner in error.exceptions]
    return next((cause for cause in causes if not isinstance(cause, RowcastError)), causes[0])
