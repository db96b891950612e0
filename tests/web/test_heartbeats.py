"""One wheel for all streams: each is woken in time, again and again, and none because another was."""

from __future__ import annotations

import asyncio
import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.clock import SystemClock
from tests.waiting import running
from web.heartbeats import GRAIN, Heartbeats
from web.mailbox import Mailbox


class Time(SystemClock):
    """Stands where it is put."""

    def __init__(self) -> None:
        super().__init__()
        self.at = 1000.0
        self._random = random.Random(1)

    def now(self) -> float:
        return self.at


def box() -> Mailbox:
    mailbox = Mailbox("1", 10)
    mailbox.live = True
    return mailbox


class Wheel:
    """Heartbeats whose time is moved by hand; what waits is woken as the streams are."""

    def __init__(self) -> None:
        self.time = Time()
        self.heartbeats = Heartbeats(self.time)
        self.beats: dict[Mailbox, list[float]] = {}

    def add(self, longest: float) -> Mailbox:
        mailbox = box()
        self.heartbeats.watch(mailbox, longest)
        self.beats[mailbox] = [self.time.at]
        return mailbox

    def pass_time(self, seconds: float) -> None:
        """In steps shorter than any slot; whoever is woken waits again."""
        end = self.time.at + seconds
        while self.time.at < end:
            self.time.at += GRAIN / 4
            waiting = {mailbox: mailbox.woken() for mailbox in self.beats}
            while self.heartbeats._times and self.heartbeats._times[0] <= self.time.at:
                self.heartbeats._turn()
            for mailbox, future in waiting.items():
                if future.done():
                    assert not future.result()
                    self.beats[mailbox].append(self.time.at)
                else:
                    future.cancel()


@pytest.fixture
async def wheel() -> Wheel:
    return Wheel()


async def test_each_stream_beats_again_and_again_and_never_later_than_it_was_told(wheel: Wheel) -> None:
    for _ in range(20):
        wheel.add(15.0)
        wheel.pass_time(0.3)
    wheel.pass_time(100.0)
    for beats in wheel.beats.values():
        gaps = [later - earlier for earlier, later in pairwise(beats)]
        assert len(gaps) >= 6
        assert all(15.0 * 0.8 - 2 * GRAIN <= gap <= 15.0 + GRAIN / 2 for gap in gaps)


async def test_streams_that_began_together_do_not_beat_together(wheel: Wheel) -> None:
    for _ in range(200):
        wheel.add(15.0)
    wheel.pass_time(16.0)
    firsts = sorted(beats[1] for beats in wheel.beats.values())
    assert firsts[-1] - firsts[0] > 2.0
    assert max(firsts.count(at) for at in firsts) < 30


async def test_a_write_puts_the_next_beat_off(wheel: Wheel) -> None:
    mailbox = wheel.add(15.0)
    for _ in range(10):
        wheel.pass_time(10.0)
        mailbox.wrote = wheel.time.at
    assert len(wheel.beats[mailbox]) == 1
    wheel.pass_time(15.0)
    assert len(wheel.beats[mailbox]) == 2


async def test_a_stream_that_is_gone_is_forgotten(wheel: Wheel) -> None:
    mailbox = wheel.add(15.0)
    mailbox.closed = True
    wheel.pass_time(16.0)
    assert len(wheel.beats[mailbox]) == 1
    assert not wheel.heartbeats._slots
    assert not wheel.heartbeats._times


async def test_one_that_writes_for_long_is_not_looked_at_over_and_over(wheel: Wheel) -> None:
    """It does not wait, so that it can't be woken; the wheel comes back a whole patience later."""
    mailbox = box()
    wheel.heartbeats.watch(mailbox, 15.0)
    wheel.time.at += 40.0
    wheel.heartbeats._turn()
    assert wheel.heartbeats._times[0] > wheel.time.at + 10.0


@given(st.floats(0.05, 300), st.floats(0, 1e7), st.randoms())
def test_a_slot_is_never_later_than_the_patience_of_what_is_in_it(
    longest: float, start: float, chance: random.Random
) -> None:
    time = Time()
    time.at = start
    heartbeats, mailbox = Heartbeats(time), box()
    asyncio.run(_watch(heartbeats, mailbox, longest))
    assert start + longest * 0.5 <= heartbeats._times[0] <= start + longest


async def _watch(heartbeats: Heartbeats, mailbox: Mailbox, longest: float) -> None:
    heartbeats.watch(mailbox, longest)


async def test_it_runs_by_the_clock_and_the_nearest_comes_first() -> None:
    heartbeats = Heartbeats(SystemClock())
    slow, quick = box(), box()
    async with running(heartbeats.run()), asyncio.timeout(5):
        heartbeats.watch(slow, 300.0)
        await asyncio.sleep(0)
        heartbeats.watch(quick, 0.05)
        for _ in range(3):
            assert not await quick.woken()
