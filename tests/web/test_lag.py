"""Redis may be slow and never silent: a bucket gets from Postgres what the log has had for some seconds (row 23 of the fault matrix)."""

from __future__ import annotations

from core.events import Range
from fanout.messages import encode_mark
from rowcast.embedded import Server
from tests.clocks import HandClock
from tests.db.databases import Databases
from tests.waiting import until
from tests.web.air import open_air
from web.lag import PATIENCE, Lag
from web.stream import Since


def test_a_bucket_is_behind_once_it_lacks_what_the_log_had_three_seconds_ago() -> None:
    lag = Lag()
    assert not lag.behind(5, 5, 100.0)
    assert not lag.behind(5, 9, 101.0)
    assert not lag.behind(5, 20, 101.0 + PATIENCE - 0.1)
    assert lag.behind(8, 30, 101.0 + PATIENCE), "9 was there three seconds ago"
    assert lag.behind(8, 30, 101.0 + PATIENCE + 1), "and still is"
    assert not lag.behind(9, 40, 101.0 + PATIENCE + 2)
    assert not lag.behind(39, 50, 101.0 + PATIENCE + 4)
    assert lag.behind(39, 50, 101.0 + 2 * PATIENCE + 2)


def test_a_bucket_that_always_has_what_was_there_shortly_before_is_never_behind() -> None:
    lag = Lag()
    assert not any(lag.behind(end - 100, end, end / 50) for end in range(100, 10_000, 10))


def test_a_log_that_lost_its_end_sets_no_goal_that_is_gone() -> None:
    lag = Lag()
    assert not lag.behind(5, 9, 100.0)
    assert not lag.behind(5, 4, 101.0)
    assert not lag.behind(5, 4, 110.0)


async def test_marks_that_come_late_one_after_another_hide_no_row(databases: Databases, valkey: Server) -> None:
    """They join up, and are signs of life; the log has been further for seconds."""
    clock = HandClock()
    with databases.migrated() as url:
        async with open_air(url, valkey.url, clock) as air, air.reading(1, Since.NOW) as reader:
            await reader.live()
            seqs = await air.send(1)
            await reader.gets(*seqs)
            end = seqs[-1]
            seqs += [message.event.seq for message in await air.log.add(1)]
            began = clock.now()
            while len(reader.seqs) < len(seqs):
                clock.advance(0.5)
                await air.say(air.names.marks(0), encode_mark(Range(end, end)))
                await until(lambda: air.hub.fresh() and clock.sleeping > 1)
                assert clock.now() - began < 2 * PATIENCE + 2
            await reader.gets(*seqs)
