"""Fail points: what is armed, and only that, and only when it is due."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from core import fail_points
from core.errors import ConfigurationError, DatabaseUnavailableError, RedisUnavailableError
from core.fail_points import FailPoint, FailPointError, Point, arm, parse, reach
from tests.clocks import QuickClock


@pytest.fixture(autouse=True)
def _disarm() -> Iterator[None]:
    yield
    fail_points.armed.clear()


class LuckyClock(QuickClock):
    """Draws what it is told."""

    drawn = 0.0

    def jitter(self, low: float, high: float) -> float:
        assert (low, high) == (0, 100)
        return self.drawn


def test_a_list_of_points_is_read() -> None:
    assert parse("bridge.claimed=kill@3, web.asked=pause:0.5,bridge.sent=error%2.5,bridge.marked=stop") == [
        FailPoint(Point.CLAIMED, "kill", nth=3),
        FailPoint(Point.ASKED, "pause", seconds=0.5),
        FailPoint(Point.SENT, "error", percent=2.5),
        FailPoint(Point.MARKED, "stop"),
    ]
    assert parse("") == []


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("bridge.claimed", "POINT=ACTION"),
        ("bridge.claimed=explode", "kill, stop, error or pause:SECONDS"),
        ("bridge.claimed=pause", "pause:SECONDS"),
        ("bridge.claimed=kill@0", "@N"),
        ("bridge.claimed=kill@1%5", "%P"),
        ("bridge.calimed=kill", "bridge.claimed"),
    ],
)
def test_what_is_no_fail_point_is_refused_with_what_there_is(spec: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match="ROWCAST_FAIL_POINTS") as caught:
        parse(spec)
    assert said in str(caught.value)


@pytest.mark.parametrize("command", ["bridge", "web"])
def test_a_bad_list_ends_the_command_with_status_2_and_a_sentence(command: str) -> None:
    arguments = [sys.executable, "-m", "rowcast", command, "--fail-points", "bridge.claimed=explode"]
    ended = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr.startswith("rowcast: ROWCAST_FAIL_POINTS: ")
    assert "Traceback" not in ended.stderr


async def test_nothing_is_armed_unless_asked_for() -> None:
    with capture_logs() as logs:
        arm("", QuickClock())
        for point in Point:
            await reach(point)
    assert not fail_points.armed
    assert logs == []


async def test_arming_is_warned_of_and_so_is_each_pass() -> None:
    with capture_logs() as logs:
        arm("web.live=pause:0", QuickClock())
        await reach(Point.LIVE)
    assert [(entry["log_level"], entry["event"]) for entry in logs] == [
        ("warning", "fail_points.armed"),
        ("warning", "fail_point.reached"),
    ]


async def test_a_pause_waits_that_long() -> None:
    clock = QuickClock()
    arm("web.live=pause:0.5", clock)
    await reach(Point.LIVE)
    await reach(Point.ASKED)
    assert clock.slept == [0.5]


async def test_an_error_is_what_losing_either_server_is() -> None:
    arm("bridge.sent=error", QuickClock())
    for kind in (DatabaseUnavailableError, RedisUnavailableError, FailPointError):
        with pytest.raises(kind):
            await reach(Point.SENT)


async def test_only_the_nth_pass_counts_where_one_is_named() -> None:
    clock = QuickClock()
    arm("web.live=pause:1@2,web.live=pause:2@3", clock)
    for _ in range(4):
        await reach(Point.LIVE)
    assert clock.slept == [1, 2]


async def test_chance_is_of_so_many_percent() -> None:
    clock = LuckyClock()
    arm("web.live=pause:1%25", clock)
    for drawn in (0, 24.9, 25, 99):
        clock.drawn = drawn
        await reach(Point.LIVE)
    assert clock.slept == [1, 1]


@pytest.mark.parametrize("action", ["kill", "stop"])
def test_a_process_is_killed_or_frozen_on_the_spot(action: str) -> None:
    code = f"""
import asyncio, sys
from core import fail_points
from core.clock import SystemClock
fail_points.arm("web.live={action}@2", SystemClock())
async def main():
    for number in (1, 2, 3):
        print(number, file=sys.stderr, flush=True)
        await fail_points.reach(fail_points.Point.LIVE)
asyncio.run(main())
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        if action == "stop":
            assert os.WIFSTOPPED(status)
            os.kill(process.pid, signal.SIGKILL)
        else:
            assert os.WTERMSIG(status) == signal.SIGKILL
        assert process.stderr is not None
        assert process.stderr.read() == "1\n2\n"
