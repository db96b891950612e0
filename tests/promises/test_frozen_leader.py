"""A leader that freezes or is cut off is replaced within 15 s wherever that happened, and does no harm when it returns.

The scenarios of one test run side by side, each on a database and a channel prefix of its own: mostly they wait.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from signal import SIGCONT

import httpx
import pytest
from redis.asyncio import Redis

from core.clock import happens
from core.errors import RedisUnavailableError
from core.events import Range
from fanout.buckets import Buckets
from fanout.connection import RedisConfig, RedisConnection, open_connection
from fanout.messages import decode_mark, encode_mark
from rowcast.embedded import Server
from tests.db.databases import Databases
from tests.event_source import open_stream
from tests.fanout.listening import ask, heard, subscribe
from tests.promises.health import unready
from tests.promises.leaders import Leaders, leaders
from tests.promises.load import under_load
from tests.rig import ready

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

Freeze = Callable[[Leaders], Awaitable[None]]
LONGEST = 180.0  # seconds
SLOW = 2.0  # seconds between the bursts of each load: many run side by side


async def limited(scenario: Callable[[], Awaitable[None]]) -> None:
    async with asyncio.timeout(LONGEST):
        await scenario()


class Ground:
    """The servers of a test, and its scenarios."""

    def __init__(self, databases: Databases, valkey: Server) -> None:
        self.databases = databases
        self.redis_url = valkey.url

    async def side_by_side(self, **scenarios: Callable[[], Awaitable[None]]) -> None:
        """Run all of them to their end; raises what any of them raised, named."""
        done = await asyncio.gather(*(limited(scenario) for scenario in scenarios.values()), return_exceptions=True)
        failed = [(name, error) for name, error in zip(scenarios, done, strict=True) if error]
        for name, error in failed:
            error.add_note(f"in the scenario {name!r}")
        if failed:
            raise BaseExceptionGroup("scenarios failed", [error for _, error in failed])

    @asynccontextmanager
    async def loaded(self, **leader: str) -> AsyncIterator[Leaders]:
        async with (
            leaders(self.databases, self.redis_url, **leader) as made,
            under_load(made.own, made.url, pause=SLOW) as made.load,
        ):
            yield made

    def frozen(self, where: Freeze, *, seconds: float = 0.0) -> Callable[[], Awaitable[None]]:
        """SIGSTOP when it is there; SIGCONT when it was replaced, and so many seconds later."""

        async def scenario() -> None:
            async with self.loaded() as made:
                await where(made)
                await made.freeze()
                await made.replaced()
                await asyncio.sleep(seconds)  # how long the fault lasts
                await made.thawed()

        return scenario

    def stopped(self, point: str) -> Callable[[], Awaitable[None]]:
        """The same at a fail point."""

        async def scenario() -> None:
            async with self.loaded(fail_points=f"{point}=stop@60") as made:
                await made.at_fail_point()
                await made.replaced()
                await made.thawed()

        return scenario

    def cut(
        self, where: Freeze, *, redis: bool = False, up: bool = True, seconds: float = 0.0
    ) -> Callable[[], Awaitable[None]]:
        """Cut it off from Postgres (and Redis) when it is there; let it back when it was replaced, and so many seconds later."""

        async def scenario() -> None:
            async with self.loaded() as made:
                await where(made)
                await made.cut(made.postgres, *([made.redis] if redis else []), up=up)
                assert "marks" in await unready(made.url, made.web)
                await made.replaced()
                await asyncio.sleep(seconds)  # how long the fault lasts
                await made.healed()

        return scenario


@pytest.fixture
def ground(databases: Databases, valkey: Server) -> Ground:
    with databases.migrated():
        pass  # so that all find the template made
    return Ground(databases, valkey)


async def asleep(made: Leaders) -> None:
    await made.asleep()


async def while_rows_are_sent_to_it(made: Leaders) -> None:
    await made.reading()


def in_a_claim_of(seconds: float) -> Freeze:
    async def claiming(made: Leaders) -> None:
        await made.claiming(seconds)

    return claiming


async def test_a_leader_that_freezes_is_replaced_within_15_s_and_does_no_harm_when_it_returns(ground: Ground) -> None:
    await ground.side_by_side(
        asleep_for_half_a_minute=ground.frozen(asleep, seconds=18),
        short_claim=ground.frozen(in_a_claim_of(1)),
        long_claim=ground.frozen(in_a_claim_of(8)),
        endless_claim=ground.frozen(in_a_claim_of(600)),
        reading=ground.frozen(while_rows_are_sent_to_it),
    )


async def test_a_leader_frozen_between_commit_and_publish_is_replaced_within_15_s(ground: Ground) -> None:
    """And the rows that it took with it come all the same."""
    await ground.side_by_side(
        claimed=ground.stopped("bridge.claimed"),
        sent=ground.stopped("bridge.sent"),
        marked=ground.stopped("bridge.marked"),
        zombie=lambda: late_words_are_no_sign_of_life(ground),
    )


async def test_a_leader_that_is_cut_off_is_replaced_within_15_s_and_does_no_harm_when_it_returns(
    ground: Ground,
) -> None:
    await ground.side_by_side(
        postgres=ground.cut(asleep),
        both_for_a_minute=ground.cut(asleep, redis=True, seconds=45),
        claiming=ground.cut(in_a_claim_of(8)),
        reading=ground.cut(while_rows_are_sent_to_it, redis=True),
        unheard=ground.cut(asleep, up=False),
    )


async def late_words_are_no_sign_of_life(ground: Ground) -> None:
    """What a leader of the past still sends is heard by nobody: with no other leader /readyz says so, however often it speaks."""
    async with (
        leaders(ground.databases, ground.redis_url, fail_points="bridge.bodies_read=stop@5") as made,
        open_stream(f"{made.url}/events/1") as stream,
    ):
        rows = [str(number) for number in range(1, 8)]
        for number in range(4):
            await made.own.insert(1, rows[number])
            await stream.receives(*rows[: number + 1])
        await made.own.insert(1, rows[4])
        await made.at_fail_point()
        await made.taken_over()
        await made.own.insert(1, rows[5])
        await stream.receives(*rows[:6])
        await ignores_what_comes_late(made, ground.redis_url)
        await made.own.insert(1, rows[6])
        made.postgres.heal()
        await ready(made.url, made.web, timeout=10)
        assert made.leader.log.count("leader.leading") == 2
        await stream.receives(*rows)


async def ignores_what_comes_late(made: Leaders, redis_url: str) -> None:
    """With the new leader gone, the old one cut off from Postgres says what it had to say."""
    marks = Buckets(1, made.own.prefix).marks(0)
    async with open_connection(RedisConfig(redis_url), name="test") as ear:
        await subscribe(ear, marks)
        await made.standby.kill()
        made.postgres.black_hole()
        made.leader.send(SIGCONT)
        late = await late_mark(ear, made)
    async with repeated(redis_url, marks, late), httpx.AsyncClient(base_url=made.url, trust_env=False) as http:
        assert "marks" in await unready(made.url, made.web)
        for _ in range(20):
            assert (await http.get("/readyz")).status_code == httpx.codes.SERVICE_UNAVAILABLE


async def late_mark(ear: RedisConnection, made: Leaders) -> bytes:
    """The next mark of the term that is over; or what it would have been, if the old leader learned that it leads no more before it spoke."""
    began = _term(made.standby.log)
    try:
        while True:
            [(_, payload)] = await heard(ear, 1)
            if decode_mark(payload).end < began:
                return payload
    except RedisUnavailableError:
        own = _term(made.leader.log)
        return encode_mark(Range(own, own))


def _term(log: str) -> int:
    return int(next(json.loads(line)["seq"] for line in log.splitlines() if "term.started" in line))


@asynccontextmanager
async def repeated(redis_url: str, channel: bytes, payload: bytes) -> AsyncIterator[None]:
    """Publish it ten times a second, until the end of the block."""

    over = asyncio.Event()  # redis-py may swallow a cancellation

    async def repeat() -> None:
        async with Redis.from_url(redis_url) as redis:
            while not await happens(over, 0.1):
                await ask(redis, "SPUBLISH", channel, payload)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(repeat(), name="repeat")
        try:
            yield
        finally:
            over.set()
