"""A process knows what was revoked before it believes a token, soon after others revoke, and ends the streams of tokens that are no good."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

import psycopg
import pytest

from core.clock import SystemClock
from core.errors import DatabaseUnavailableError, RedisUnavailableError
from db.revocations import Revocation
from fanout.connection import RedisConfig
from fanout.wakeup import send_wakeup
from rowcast.embedded import Server
from tests.clocks import HandClock
from tests.db.databases import Databases
from tests.waiting import running, turns, until
from tests.web.air import Air, Reader, open_air
from web.auth.caller import Caller
from web.auth.revocations import FRESH, PAUSE, STALE, Revocations, RevocationsUnknownError
from web.auth.revoked import USER_REVOKED, Revoked
from web.stream import Since, Stream

MINE = Caller("1", issued_at=100.0)
ANOTHERS = Caller("2", issued_at=100.0)


@dataclass
class Shelf:
    """A list that answers when and how the test says."""

    entries: list[Revocation] = field(default_factory=list)
    looks: int = 0
    away: bool = False
    answers: asyncio.Event = field(default_factory=asyncio.Event)
    _read: int = 0

    async def add(self, *, user_id: str | None, token_id: str | None, expires_at: float | None) -> Revocation:
        self.entries.append(Revocation(len(self.entries) + 1, user_id, token_id, 1000.0, expires_at))
        return self.entries[-1]

    async def news(self) -> list[Revocation]:
        self.looks += 1
        seen = len(self.entries)  # as a snapshot: what comes while the answer is on its way is not in it
        await self.answers.wait()
        if self.away:
            raise DatabaseUnavailableError
        found, self._read = self.entries[self._read : seen], seen
        return found


@dataclass
class Desk:
    """One process's knowledge, and what it did."""

    shelf: Shelf
    clock: HandClock
    revocations: Revocations
    ended: list[Callable[[Caller], bool]]
    rung: list[None]


@asynccontextmanager
async def desk(*, answers: bool = True, redis_away: bool = False) -> AsyncIterator[Desk]:
    """Running until the end of the block."""
    shelf, clock = Shelf(), HandClock()
    ended: list[Callable[[Caller], bool]] = []
    rung: list[None] = []

    def end_streams(whose: Callable[[Caller], bool], _: str) -> int:
        ended.append(whose)
        return 1

    async def ring() -> None:
        rung.append(None)
        if redis_away:
            raise RedisUnavailableError

    if answers:
        shelf.answers.set()
    revocations = Revocations(shelf, Revoked(), clock, end_streams=end_streams, ring=ring)
    async with running(revocations.run()):
        await until(lambda: shelf.looks > 0)
        await turns()
        yield Desk(shelf, clock, revocations, ended, rung)


async def test_no_token_is_believed_before_the_list_was_read() -> None:
    async with desk(answers=False) as at:
        at.shelf.entries.append(Revocation(1, "1", None, 1000.0))
        asked = [asyncio.ensure_future(at.revocations.refuses(caller)) for caller in (MINE, ANOTHERS)]
        await turns()
        assert not any(answer.done() for answer in asked)
        assert at.revocations.ready()["revocations"]
        at.shelf.answers.set()
        await turns()
        at.clock.advance(PAUSE)  # the first look was begun before the entry was there
        assert await asyncio.gather(*asked) == [None, None]
        await until(lambda: at.ended != [])
        assert at.revocations.ready() == {"revocations": None}
        assert await at.revocations.refuses(MINE) == USER_REVOKED


async def test_it_is_not_known_while_postgres_was_never_there() -> None:
    async with desk(answers=False) as at:
        at.shelf.away = True
        at.shelf.answers.set()
        await turns()
        with pytest.raises(RevocationsUnknownError):
            await at.revocations.refuses(MINE)


async def test_what_one_revokes_itself_holds_at_once_ends_streams_and_is_told_to_others() -> None:
    async with desk() as at:
        added = await at.revocations.revoke(user_id="1")
        assert added == at.shelf.entries[0]
        [whose] = at.ended
        assert (whose(MINE), whose(ANOTHERS)) == (True, False)
        assert await at.revocations.refuses(MINE) == USER_REVOKED
        await until(lambda: len(at.rung) == 1)


async def test_that_redis_is_away_harms_nobody() -> None:
    async with desk(redis_away=True) as at:
        for count in (1, 2):
            await at.revocations.revoke(user_id="1")
            await until(lambda count=count: len(at.rung) == count)  # type: ignore[misc]


async def test_whoever_rings_without_end_makes_it_look_twenty_times_a_second_at_most() -> None:
    async with desk() as at:
        before = at.shelf.looks
        for _ in range(20):
            for _ in range(20):
                at.revocations.wake()
                await turns(5)
            at.clock.advance(PAUSE)
            await turns()
        assert before + 19 <= at.shelf.looks <= before + 21


async def test_a_process_that_was_frozen_looks_before_it_believes_a_token() -> None:
    """Also if a look was on its way when it froze: its answer is of long ago."""
    async with desk() as at:
        at.shelf.answers.clear()
        at.clock.advance(PAUSE)
        at.revocations.wake()
        await until(lambda: at.shelf.looks == 2)
        at.shelf.entries.append(Revocation(1, "1", None, 1000.0))
        at.clock.advance(FRESH + 0.1)
        asked = asyncio.ensure_future(at.revocations.refuses(MINE))
        await turns()
        assert not asked.done()
        at.shelf.answers.set()
        await turns()
        at.clock.advance(PAUSE)
        assert await asked == USER_REVOKED


async def test_after_one_failed_look_the_next_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The session of a process that was frozen may be dead: that alone is no reason to believe what it knew before."""
    monkeypatch.setattr("web.auth.revocations.PATIENCE", 30.0)
    async with desk() as at:
        at.shelf.entries.append(Revocation(1, "1", None, 1000.0))
        at.shelf.away = True
        at.clock.advance(FRESH + 0.1)
        asked = asyncio.ensure_future(at.revocations.refuses(MINE))
        await until(lambda: at.shelf.looks == 2)
        await turns()
        assert not asked.done()
        at.shelf.away = False
        at.clock.advance(PAUSE)
        assert await asked == USER_REVOKED


async def test_while_postgres_is_away_what_is_known_holds_and_nobody_waits() -> None:
    async with desk() as at:
        await at.revocations.revoke(user_id="1")
        at.shelf.away = True
        at.clock.advance(PAUSE)
        at.revocations.wake()
        await until(lambda: at.shelf.looks == 2)
        await turns()
        at.clock.advance(1000)
        async with asyncio.timeout(0.5):
            assert await at.revocations.refuses(MINE) == USER_REVOKED
            assert await at.revocations.refuses(ANOTHERS) is None


@pytest.mark.parametrize("hangs", [True, False], ids=["hangs", "refuses"])
async def test_a_process_that_can_t_read_the_list_says_so_until_it_can(hangs: bool) -> None:
    async with desk() as at:
        if hangs:
            at.shelf.answers.clear()
        at.shelf.away = not hangs
        at.clock.advance(STALE)
        at.revocations.wake()
        await until(lambda: at.shelf.looks == 2)
        await turns()
        assert at.revocations.ready() == {"revocations": None}
        at.clock.advance(0.1)
        assert at.revocations.ready() == {
            "revocations": "Which tokens were revoked was last read from Postgres 3 s ago."
        }
        at.shelf.away = False
        at.shelf.answers.set()
        await turns()
        at.clock.advance(PAUSE)
        at.revocations.wake()
        await until(lambda: at.revocations.ready() == {"revocations": None})


@pytest.fixture
async def heard(databases: Databases, valkey: Server) -> AsyncIterator[tuple[Air, Revoked]]:
    """A hub that asks what is revoked."""
    revoked = Revoked()
    with databases.migrated() as url:
        async with open_air(url, valkey.url, refuses=revoked.refuses) as air:
            yield air, revoked


@asynccontextmanager
async def stream_of(air: Air, caller: Caller) -> AsyncIterator[Reader]:
    """One that was let in."""
    stream = Stream(air.hub, air.history, air.config, air.clock, user_id="1", start=Since.ALL, caller=caller)
    async with aclosing(cast(AsyncGenerator[bytes, None], stream.frames())) as frames:
        yield Reader(frames)


def revoke(air: Air, revoked: Revoked) -> int:
    """As web.auth.revocations does; how many streams it ended."""
    revoked.learn([Revocation(1, "1", None, 1000.0)], SystemClock().time())
    return air.hub.end_streams(lambda caller: revoked.refuses(caller) is not None, "its token was revoked")


async def test_a_revocation_ends_the_streams_it_is_for_and_no_others(heard: tuple[Air, Revoked]) -> None:
    air, revoked = heard
    newer = Caller("1", issued_at=2000.0)
    async with stream_of(air, MINE) as old, stream_of(air, newer) as new, running(old.run(), new.run()):
        await old.live()
        await new.live()
        assert revoke(air, revoked) == 1
        await old.end()
        await air.send(1)
        await new.gets(1)
    assert old.seqs == []


async def test_a_stream_that_was_let_in_just_before_does_not_slip_through(heard: tuple[Air, Revoked]) -> None:
    """The gate asked, the revocation came, and only then does the hub know of the stream."""
    air, revoked = heard
    await air.send(1)
    async with stream_of(air, MINE) as reader:
        assert await reader.read()  # the `retry:` of before
        assert revoke(air, revoked) == 0
        async with asyncio.timeout(5):
            await reader.run()
    assert reader.events == []


async def test_a_stream_that_is_reading_its_backlog_writes_none_of_it(heard: tuple[Air, Revoked]) -> None:
    air, revoked = heard
    await air.send(1)
    async with await psycopg.AsyncConnection.connect(air.log.url) as owner:
        await owner.execute("LOCK TABLE notifications")
        async with stream_of(air, MINE) as reader, running(reader.run()):
            await until(lambda: air.hub.streams == 1)
            assert revoke(air, revoked) == 1
            await owner.rollback()
            await reader.end()
    assert reader.events == []


async def test_another_process_is_woken_through_redis_whatever_the_message_says(heard: tuple[Air, Revoked]) -> None:
    air, _ = heard
    woken: list[None] = []
    channel = air.names.revocations
    air.hub.calls(channel, lambda: woken.append(None))

    async def wakes() -> bool:
        await send_wakeup(RedisConfig(air.redis_url), channel)
        return bool(woken)

    await until(wakes)
    before = len(woken)
    await air.say(channel, b'{"user":1}')
    await until(lambda: len(woken) > before)
