"""The one loop that reconnects: it waits longer each time, starts over after real success, and hides neither bugs nor wrong settings."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from core.clock import SystemClock
from core.errors import ConfigurationError, DatabaseUnavailableError, RedisUnavailableError, RowcastError
from core.supervise import Attempt, delay_after, first_cause, supervise
from tests.clocks import HandClock, QuickClock


class BugError(Exception):
    """A bug, as far as supervise can tell."""


def failing(times: int, *, working: tuple[int, ...] = ()) -> Callable[[Attempt], Awaitable[None]]:
    """A body that loses its connection that many times, then raises BugError; on these runs it had worked before."""
    run = 0

    async def body(attempt: Attempt) -> None:
        nonlocal run
        run += 1
        if run in working:
            attempt.succeeded()
        if run > times:
            raise BugError
        raise RedisUnavailableError

    return body


@pytest.mark.parametrize(
    ("failures", "low", "high"),
    [(1, 0.05, 0.1), (2, 0.1, 0.2), (3, 0.2, 0.4), (7, 2.5, 5), (99, 2.5, 5), (10**6, 2.5, 5)],
)
def test_the_delay_doubles_to_five_seconds_half_of_it_drawn(failures: int, low: float, high: float) -> None:
    assert delay_after(failures, HandClock()) == pytest.approx((low + high) / 2)
    assert low <= delay_after(failures, SystemClock()) <= high


async def test_each_failure_waits_longer() -> None:
    clock = QuickClock()
    with pytest.raises(BugError):
        await supervise("x", failing(8), clock=clock)
    assert clock.slept == pytest.approx([0.075, 0.15, 0.3, 0.6, 1.2, 2.4, 3.75, 3.75])


async def test_the_delay_starts_over_only_after_success() -> None:
    clock = QuickClock()
    with pytest.raises(BugError):
        await supervise("x", failing(5, working=(4,)), clock=clock)
    assert clock.slept == pytest.approx([0.075, 0.15, 0.3, 0.075, 0.15])


async def test_a_loss_and_a_return_are_told_once_each() -> None:
    with structlog.testing.capture_logs() as logs, pytest.raises(BugError):
        await supervise("valkey", failing(6, working=(4, 5)), clock=QuickClock())
    assert [(entry["event"], entry["connection"]) for entry in logs] == [
        ("connection.lost", "valkey"),
        ("connection.restored", "valkey"),
        ("connection.lost", "valkey"),
        ("connection.restored", "valkey"),
        ("connection.lost", "valkey"),
    ]
    assert "Redis did not answer" in logs[0]["reason"]


async def test_what_is_fatal_is_raised_at_once() -> None:
    async def body(_: Attempt) -> None:
        raise ConfigurationError

    with pytest.raises(ConfigurationError):
        await supervise("x", body, clock=HandClock(), fatal=ConfigurationError)


async def test_a_bug_beside_a_loss_is_raised() -> None:
    async def body(_: Attempt) -> None:
        raise BaseExceptionGroup("", [RedisUnavailableError(), BugError()])

    with pytest.raises(BaseExceptionGroup) as caught:
        await supervise("x", body, clock=HandClock())
    assert isinstance(first_cause(caught.value), BugError)


async def test_losses_in_a_group_are_losses() -> None:
    async def body(attempt: Attempt) -> None:
        if attempt.failures:
            raise BugError
        raise ExceptionGroup("", [ExceptionGroup("", [DatabaseUnavailableError("away")])])

    with pytest.raises(BugError):
        await supervise("x", body, clock=QuickClock())


async def test_it_ends_when_until_says_so() -> None:
    runs = 0

    async def body(_: Attempt) -> None:
        nonlocal runs
        runs += 1

    await supervise("x", body, clock=QuickClock(), until=lambda: runs == 3)
    assert runs == 3


async def test_cancelling_is_passed_on() -> None:
    clock = HandClock()
    task = asyncio.ensure_future(supervise("x", failing(1), clock=clock))
    while not clock.sleeping:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


ERRORS = st.recursive(
    st.sampled_from([RedisUnavailableError(), DatabaseUnavailableError(), BugError()]),
    lambda inner: st.lists(inner, min_size=1, max_size=3).map(lambda errors: ExceptionGroup("", errors)),
    max_leaves=6,
)


@given(ERRORS)
def test_the_first_cause_is_a_bug_if_there_is_one(error: Exception) -> None:
    def leaves(error: Exception) -> list[Exception]:
        if isinstance(error, ExceptionGroup):
            return [leaf for inner in error.exceptions for leaf in leaves(inner)]
        return [error]

    cause = first_cause(error)
    assert cause in leaves(error)
    assert isinstance(cause, RowcastError) == all(isinstance(leaf, RowcastError) for leaf in leaves(error))
