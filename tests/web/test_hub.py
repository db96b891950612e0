"""The web's ear: what it hears goes to whom it is for, what it can't read is read from Postgres, and it ends streams politely."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import redis.asyncio as redis

from core.events import NOTIFICATION, Event, Range
from fanout.buckets import Buckets
from fanout.connection import RedisConfig
from fanout.messages import encode_mark, encode_message
from rowcast.embedded import Server
from tests.clocks import HandClock
from tests.db.databases import Databases
from tests.fanout.listening import ask
from tests.waiting import running, turns, until
from tests.web.air import Air, open_air, together
from tests.web.log import open_log
from web.hub import Hub
from web.stream import Since


@pytest.fixture
async def air(databases: Databases, valkey: Server) -> AsyncIterator[Air]:
    with databases.migrated() as url:
        async with open_air(url, valkey.url) as made:
            yield made


async def subscribers(air: Air, channel: bytes) -> int:
    async with redis.Redis.from_url(air.redis_url) as client:
        answer = await ask(client, "PUBSUB", "SHARDNUMSUB", channel)
        return int(answer[1])


async def test_one_subscription_serves_all_streams_of_a_user_and_ends_with_the_last(air: Air) -> None:
    """One subscription connection for each web process, never one for each stream."""
    channel = air.names.user("1")
    async with air.reading(1, Since.NOW) as first:
        async with air.reading(1, Since.NOW) as second:
            await together(first, second)
            assert air.hub.streams == 2
            assert await subscribers(air, channel) == 1
            seqs = await air.send(1)
            await first.gets(*seqs)
            await second.gets(*seqs)
        assert await subscribers(air, channel) == 1
        seqs += await air.send(1)
        await first.gets(*seqs)

    async def nobody() -> bool:
        return await subscribers(air, channel) == 0

    await until(nobody)
    assert air.hub.streams == 0


async def test_a_message_on_another_users_channel_is_not_delivered_and_its_row_comes_from_postgres(air: Air) -> None:
    """The user id inside each message is checked before it is delivered (design.md, Redis)."""
    async with air.reading(1, Since.NOW) as mine, air.reading(2, Since.NOW) as anothers:
        await together(mine, anothers)
        [message] = await air.log.add(2)
        await air.say(air.names.user("1"), encode_message(message.event, message.start))
        await air.say(air.names.marks(0), encode_mark(Range(0, 1)))
        await anothers.gets(1)
        await air.send(1)
        await mine.gets(2)


async def test_a_forged_message_for_everyone_on_a_users_channel_is_not_delivered(air: Air) -> None:
    async with air.reading(1, Since.NOW) as mine:
        await mine.live()
        forged = Event(1, NOTIFICATION, None, '{"id":1,"user_id":null,"message":"forged"}')
        await air.say(air.names.user("1"), encode_message(forged, 0))
        seqs = await air.send(1)
        await mine.gets(*seqs)
        assert b"forged" not in mine.raw


@pytest.mark.parametrize("payload", [b"", b"gibberish", b'{"v":2,"seq":1,"from":0,"kind":"notification"}', b"\xff"])
@pytest.mark.parametrize("where", ["user", "all", "mark"])
async def test_what_cannot_be_read_is_a_hole_that_postgres_fills(air: Air, where: str, payload: bytes) -> None:
    """Another version of the bridge, or somebody's mistake: the row comes all the same, and nothing ends."""
    async with air.reading(1, Since.NOW) as mine:
        await mine.live()
        await air.log.add(1)
        channel = {"user": air.names.user("1"), "all": air.names.everyone(0), "mark": air.names.marks(0)}[where]
        await air.say(channel, payload)
        await mine.gets(1)
        await air.send(1)
        await mine.gets(1, 2)


async def test_a_stream_that_comes_during_a_drain_ends_at_once(air: Air) -> None:
    async with air.reading(1, Since.NOW) as before:
        await before.live()
        assert await air.hub.drain(5) == 0
        await before.end()
        async with air.reading(1, Since.ALL) as after:
            await after.end()
            assert after.events == []
            assert after.raw.startswith(b"retry: ")


async def test_a_drain_counts_who_did_not_go(air: Air) -> None:
    async with air.by_hand(1, Since.NOW) as stuck, air.reading(2, Since.NOW) as other:
        await stuck.until_hello()
        await other.live()
        assert await air.hub.drain(0.2) == 1
        await other.end()


async def test_nobody_to_drain(air: Air) -> None:
    async with asyncio.timeout(1):
        assert await air.hub.drain(1000) == 0


async def test_fresh_means_marks_are_heard_and_connected_that_nothing_is_left_to_read(air: Air) -> None:
    assert air.hub.connected()
    assert not air.hub.fresh()
    await air.publish([], Range(0, 0))
    await until(air.hub.fresh)
    async with redis.Redis.from_url(air.redis_url) as client:
        await ask(client, "CLIENT", "KILL", "TYPE", "pubsub")
    await until(lambda: not air.hub.fresh())
    await until(air.hub.connected)
    assert not air.hub.fresh(), "marks of before the interruption say nothing"


async def test_rows_of_an_interruption_come_from_postgres(air: Air) -> None:
    """Rule 4.4. [T: the cut fell between a message and its mark; the mark joined up.]"""
    async with air.reading(1, Since.NOW) as mine, redis.Redis.from_url(air.redis_url) as client:
        await mine.live()
        seqs = await air.send(1)
        await mine.gets(*seqs)
        for _ in range(5):
            await ask(client, "CLIENT", "KILL", "TYPE", "pubsub")
            seqs += (await air.send(1, 2, 1))[::2]
            await mine.gets(*seqs)


async def test_a_silent_subscription_is_replaced_and_its_streams_live_on_rereads(
    databases: Databases, valkey: Server
) -> None:
    """Rule 4.4: a bucket silent for 3 s: throw the connection away, and re-read meanwhile."""
    clock = HandClock()
    with databases.migrated() as url:
        async with open_log(url) as (_, history):
            hub = Hub(RedisConfig(valkey.url), Buckets(1, "silent"), history, clock)
            async with running(hub.run()):
                await until(hub.connected)
                bucket = hub._buckets[0]
                epoch = bucket.epoch
                clock.advance(2.9)
                await turns(50)
                assert bucket.joined_up
                clock.advance(0.6)
                await until(lambda: bucket.epoch > epoch)
                await until(lambda: clock.sleeping > 2)  # both watches, and the pause before the next connection
                clock.advance(0.1)
                await until(hub.connected)


async def test_buckets_are_independent(databases: Databases, valkey: Server) -> None:
    """A bucket is the unit of order, of marks and of failure."""
    clock = HandClock()
    names = Buckets(4, "four")
    with databases.migrated() as url:
        async with open_log(url) as (log, history):
            hub = Hub(RedisConfig(valkey.url), names, history, clock)
            async with running(hub.run()):
                await until(hub.connected)
                async with redis.Redis.from_url(valkey.url) as client:
                    for bucket in range(4):
                        assert not hub.fresh(), bucket
                        await ask(client, "SPUBLISH", names.marks(bucket), encode_mark(Range(0, bucket)))
                    await log.move(last_seq=3)
                    await until(lambda: hub.fresh() or clock.sleeping > 1)
                    clock.advance(1)
                    await until(hub.fresh)
