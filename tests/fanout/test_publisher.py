"""One bucket's way out on a real Valkey: a mark is heard only after all that it covers, whatever happens (protocol.md 3)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

import pytest
import redis.asyncio as redis

from core.events import NOTIFICATION, Event, Range
from fanout import publisher as module
from fanout.buckets import Buckets
from fanout.connection import RedisConfig, RedisConnection
from fanout.messages import decode_mark, decode_message, encode_message
from fanout.nodes import Nodes
from fanout.publisher import Batch, Publisher
from tests.clocks import HandClock, QuickClock
from tests.fanout.listening import ask, heard, subscribe
from tests.fanout.own_valkey import OwnValkey
from tests.waiting import running, turns, until
from tests.wire import Wire

NAMES = Buckets(1, "p")
MARKS, USER, OTHER = NAMES.marks(0), NAMES.user("1"), NAMES.user("2")


@asynccontextmanager
async def publishing(url: str, clock: HandClock | None = None, nodes: Nodes | None = None) -> AsyncIterator[Publisher]:
    clock = clock or QuickClock()
    publisher = Publisher(nodes or Nodes(RedisConfig(url), NAMES, clock), NAMES, 0, clock)
    async with running(publisher.run()):
        yield publisher


def batch(start: int, end: int, *rows: tuple[int, bytes]) -> Batch:
    """Rows (seq, channel) of the range (start, end]."""
    messages = []
    for seq, channel in rows:
        user = channel.rpartition(b":")[2].decode()
        event = Event(seq, NOTIFICATION, user, f'{{"id":{seq},"user_id":{user}}}')
        messages.append((channel, encode_message(event, start)))
    return Batch(Range(start, end), messages)


async def hears(raw: RedisConnection, *expected: int | tuple[int, int]) -> None:
    """The next messages are exactly these: a seq, or a mark (from, to)."""
    got: list[int | tuple[int, int]] = []
    for channel, payload in await heard(raw, len(expected)):
        if channel == MARKS:
            mark = decode_mark(payload)
            got.append((mark.start, mark.end))
        else:
            got.append(decode_message(payload).event.seq)
    assert got == list(expected)


async def test_a_batch_leaves_whole_and_in_order_with_its_mark_behind_it(
    own_valkey: OwnValkey, raw: RedisConnection
) -> None:
    """Rule 3.1. The mark says that all messages of its range went before it."""
    await subscribe(raw, MARKS, USER, OTHER)
    async with publishing(own_valkey.url) as publisher:
        assert await publisher.offer(batch(0, 4, (1, USER), (2, OTHER), (3, USER)))
        assert await publisher.offer(batch(4, 6, (5, OTHER), (6, USER)))
        assert await publisher.offer(batch(6, 9))
        await hears(raw, 1, 2, 3, (0, 4), 5, 6, (4, 6), (6, 9))


async def test_nothing_comes_between_the_messages_of_a_batch(
    own_valkey: OwnValkey, admin: redis.Redis, raw: RedisConnection
) -> None:
    """Rule 3.1: one MULTI/EXEC."""
    await subscribe(raw, MARKS, USER)
    async with publishing(own_valkey.url) as publisher:
        done = asyncio.Event()

        async def others() -> None:
            while not done.is_set():
                await ask(
                    admin, "SPUBLISH", USER, encode_message(Event(0, NOTIFICATION, "1", '{"id":0,"user_id":1}'), 0)
                )

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(others())
            got: list[int] = []
            for turn in range(20):
                start = turn * 100
                await publisher.offer(batch(start, start + 50, *((start + n, USER) for n in range(1, 51))))
                while True:
                    [(channel, payload)] = await heard(raw, 1)
                    if channel == MARKS:
                        break
                    got.append(decode_message(payload).event.seq)
            done.set()
        for turn in range(20):
            first = got.index(turn * 100 + 1)
            assert got[first : first + 50] == [turn * 100 + n for n in range(1, 51)]


def limited(url: str, user: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{user}:pw@{parts.hostname}:{parts.port}"))


async def test_a_refused_message_keeps_back_its_whole_batch_and_the_mark(
    own_valkey: OwnValkey, admin: redis.Redis, raw: RedisConnection
) -> None:
    """Rule 3.1: after an error nothing of the batch counts; what failed twice is dropped, and the next `from` shows the hole.

    [M: some messages refused and the mark accepted loses rows in 320 of 500 walks.]
    """
    await ask(admin, "ACL", "SETUSER", "pub", "on", ">pw", "~*", "+@all", "resetchannels", b"&" + USER, b"&" + MARKS)
    await subscribe(raw, MARKS, USER, OTHER)
    clock = QuickClock()
    async with publishing(limited(own_valkey.url, "pub"), clock) as publisher:
        await publisher.offer(batch(0, 3, (1, USER), (2, OTHER), (3, USER)))
        await publisher.offer(batch(3, 4, (4, USER)))
        await hears(raw, 4, (3, 4))
    assert len(clock.slept) == 2, "tried twice"


async def test_a_batch_refused_once_is_sent_again_from_its_first_message(
    own_valkey: OwnValkey, admin: redis.Redis, raw: RedisConnection
) -> None:
    """Rule 3.1: BUSY refuses some commands and takes others."""
    await ask(admin, "CONFIG", "SET", "busy-reply-threshold", "1")
    await subscribe(raw, MARKS, USER)
    clock = HandClock()
    async with publishing(own_valkey.url, clock) as publisher, redis.Redis.from_url(own_valkey.url) as looping:
        await publisher.offer(batch(0, 1, (1, USER)))
        await hears(raw, 1, (0, 1))
        async with running(_until_killed(looping)) as [script]:
            await until(lambda: _is_busy(admin))
            await publisher.offer(batch(1, 3, (2, USER), (3, USER)))
            await until(lambda: clock.sleeping > 0)
            await ask(admin, "SCRIPT", "KILL")
            await script
        await publisher.offer(batch(3, 4, (4, USER)))
        clock.advance(10)
        await hears(raw, 2, 3, (1, 3), 4, (3, 4))


async def _until_killed(client: redis.Redis) -> None:
    with pytest.raises(redis.RedisError):
        await ask(client, "EVAL", "while true do end", "0")


async def _is_busy(admin: redis.Redis) -> bool:
    try:
        await ask(admin, "PING")
    except redis.RedisError as error:
        return "BUSY" in str(error)
    return False


async def test_a_batch_whose_answer_was_lost_is_sent_again_whole(
    own_valkey: OwnValkey, link: Wire, raw: RedisConnection
) -> None:
    """Rule 3.1: the whole batch again, from its first message; a stream drops what it has."""
    await subscribe(raw, MARKS, USER)
    clock = HandClock()
    async with publishing(link.url, clock) as publisher:
        await publisher.offer(batch(0, 1, (1, USER)))
        await hears(raw, 1, (0, 1))
        await publisher.drain()
        link.black_hole(up=False)
        await publisher.offer(batch(1, 3, (2, USER), (3, USER)))
        await hears(raw, 2, 3, (1, 3))
        await link.swallows(b"*3\r\n:")
        link.heal()
        link.reset()
        await publisher.offer(batch(3, 4, (4, USER)))
        await until(lambda: clock.sleeping > 0)
        clock.advance(10)
        await hears(raw, 2, 3, (1, 3), 4, (3, 4))


async def test_a_server_that_became_a_replica_is_left(
    own_valkey: OwnValkey, admin: redis.Redis, raw: RedisConnection
) -> None:
    """It would go on saying OK; who listens at the new primary would never hear of it, and nothing would tell."""
    await subscribe(raw, MARKS, USER)
    clock = HandClock()
    async with publishing(own_valkey.url, clock) as publisher:
        await publisher.offer(batch(0, 1, (1, USER)))
        await hears(raw, 1, (0, 1))
        await ask(admin, "REPLICAOF", "127.0.0.1", 9)
        clock.advance(module.LOOK_EVERY)
        await publisher.offer(batch(1, 2, (2, USER)))
        await until(lambda: clock.sleeping > 0)
        assert not publisher.connected
        await ask(admin, "REPLICAOF", "NO", "ONE")
        clock.advance(10)
        await hears(raw, 2, (1, 2))


async def test_a_server_that_does_not_say_what_it_is_counts_as_the_primary(
    own_valkey: OwnValkey, admin: redis.Redis, raw: RedisConnection
) -> None:
    """An ACL may forbid to ask, or a proxy not know how."""
    await ask(admin, "ACL", "SETUSER", "app", "on", ">pw", "~*", "&*", "+@all", "-hello")
    await subscribe(raw, MARKS, USER)
    async with publishing(limited(own_valkey.url, "app")) as publisher:
        await publisher.offer(batch(0, 1, (1, USER)))
        await hears(raw, 1, (0, 1))


async def test_no_answer_is_an_error(
    own_valkey: OwnValkey, link: Wire, raw: RedisConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A half-open connection: noticed by our own clock, not by TCP's."""
    monkeypatch.setattr(module, "REPLY_TIMEOUT", 0.1)
    await subscribe(raw, MARKS, USER)
    clock = HandClock()
    async with publishing(link.url, clock) as publisher:
        await until(lambda: publisher.connected)
        link.black_hole(up=False)
        await publisher.offer(batch(0, 1, (1, USER)))
        await until(lambda: clock.sleeping > 0)
        assert not publisher.connected
        link.heal()
        clock.advance(10)
        await hears(raw, 1, (0, 1), 1, (0, 1))


async def test_what_was_queued_while_redis_could_not_be_reached_is_dropped_and_leaves_a_hole(
    own_valkey: OwnValkey, link: Wire, raw: RedisConnection
) -> None:
    await subscribe(raw, MARKS, USER)
    clock = HandClock()
    link.refuse()
    async with publishing(link.url, clock) as publisher:
        await until(lambda: clock.sleeping > 0)
        for seq in range(1, 6):
            assert await publisher.offer(batch(seq - 1, seq, (seq, USER)))
        clock.advance(10)
        await until(lambda: clock.sleeping > 0)
        link.heal()
        clock.advance(10)
        await until(lambda: publisher.connected)
        assert await publisher.offer(batch(5, 6, (6, USER)))
        await hears(raw, 6, (5, 6))


async def test_what_is_late_when_a_connection_is_lost_is_dropped(
    own_valkey: OwnValkey, link: Wire, raw: RedisConnection
) -> None:
    """Those who listen have read it from Postgres, and believe no mark that is below it: rows of now would come behind it all."""
    await subscribe(raw, MARKS, USER)
    clock = HandClock()
    async with publishing(link.url, clock) as publisher:
        await publisher.offer(batch(0, 1, (1, USER)))
        await hears(raw, 1, (0, 1))
        await publisher.drain()
        link.hold()
        for seq in range(2, 6):
            assert await publisher.offer(batch(seq - 1, seq, (seq, USER)))
        clock.advance(module.LATE + 0.1)
        link.reset()
        await until(lambda: clock.sleeping > 0)
        assert await publisher.offer(batch(5, 6, (6, USER)))
        link.heal()
        clock.advance(10)
        await hears(raw, 6, (5, 6))


async def test_a_full_queue_drops_at_once_while_redis_is_away(link: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule 3.1: what overflows the queue is dropped; the bridge goes on stamping (rule 2.5)."""
    monkeypatch.setattr(module, "QUEUE_BYTES", 10_000)
    monkeypatch.setattr(module, "ROOM_TIMEOUT", 1000.0)
    link.refuse()
    async with publishing(link.url, HandClock()) as publisher:
        big = batch(0, 100, *((seq, USER) for seq in range(1, 41)))
        assert 5_000 < big.size < 10_000
        async with asyncio.timeout(5):
            assert await publisher.offer(big)
            assert not await publisher.offer(batch(100, 200, *((seq, USER) for seq in range(101, 141))))
            assert await publisher.offer(batch(200, 201, (201, USER)))


async def test_a_full_queue_waits_for_room_while_redis_takes_what_it_gets(
    own_valkey: OwnValkey, admin: redis.Redis, raw: RedisConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "QUEUE_BYTES", 1)
    monkeypatch.setattr(module, "ROOM_TIMEOUT", 1000.0)
    await subscribe(raw, MARKS, USER)
    async with publishing(own_valkey.url) as publisher:
        await until(lambda: publisher.connected)
        for seq in range(1, 50):
            assert await publisher.offer(batch(seq - 1, seq, (seq, USER)))
        for seq in range(1, 50):
            await hears(raw, seq, (seq - 1, seq))


async def test_a_full_queue_gives_up_on_a_redis_that_stands_still(
    own_valkey: OwnValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "QUEUE_BYTES", 1)
    monkeypatch.setattr(module, "ROOM_TIMEOUT", 0.05)
    async with publishing(own_valkey.url) as publisher:
        await until(lambda: publisher.connected)
        own_valkey.freeze()
        assert await publisher.offer(batch(0, 1, (1, USER)))
        assert not await publisher.offer(batch(1, 2, (2, USER)))


async def test_a_full_queue_waits_for_no_node_that_does_not_even_say_who_it_is(
    own_valkey: OwnValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a cluster the buckets of other nodes would wait, too."""
    monkeypatch.setattr(module, "QUEUE_BYTES", 1)
    monkeypatch.setattr(module, "ROOM_TIMEOUT", 1000.0)
    clock = HandClock()
    nodes = Nodes(RedisConfig(own_valkey.url), NAMES, clock)
    async with publishing(own_valkey.url, clock, nodes) as publisher:
        await until(lambda: publisher.connected)
        nodes.clustered = True
        own_valkey.freeze()
        clock.advance(module.LOOK_EVERY)
        async with asyncio.timeout(2):
            assert await publisher.offer(batch(0, 1, (1, USER)))
            await turns()
            clock.advance(module.STILL + 0.01)
            assert not await publisher.offer(batch(1, 2, (2, USER)))


async def test_a_batch_larger_than_the_queue_is_still_taken(
    own_valkey: OwnValkey, raw: RedisConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "QUEUE_BYTES", 1)
    await subscribe(raw, MARKS, USER)
    async with publishing(own_valkey.url) as publisher:
        assert await publisher.offer(batch(0, 2, (1, USER), (2, USER)))
        await hears(raw, 1, 2, (0, 2))


async def test_the_heartbeat_covers_nothing(own_valkey: OwnValkey, raw: RedisConnection) -> None:
    """Rule 3.3: {e, e}. [M: repeating {from, to} on a new connection loses rows in 260 of 700 walks.]"""
    await subscribe(raw, MARKS, USER)
    async with publishing(own_valkey.url) as publisher:
        publisher.heartbeat(7)
        await hears(raw, (7, 7))
        await publisher.offer(batch(7, 8, (8, USER)))
        publisher.heartbeat(8)  # nobody needs it: a mark is on its way
        await hears(raw, 8, (7, 8))
        await publisher.drain()
        publisher.heartbeat(8)
        await hears(raw, (8, 8))


async def test_a_heartbeat_of_before_an_interruption_is_not_sent_after_it(
    own_valkey: OwnValkey, link: Wire, raw: RedisConnection
) -> None:
    await subscribe(raw, MARKS, USER)
    clock = HandClock()
    link.refuse()
    async with publishing(link.url, clock) as publisher:
        publisher.heartbeat(7)
        await until(lambda: clock.sleeping > 0)
        link.heal()
        clock.advance(10)
        await until(lambda: publisher.connected)
        await publisher.offer(batch(7, 8, (8, USER)))
        await hears(raw, 8, (7, 8))


async def test_drain_returns_when_all_is_sent(own_valkey: OwnValkey, raw: RedisConnection) -> None:
    await subscribe(raw, MARKS, USER)
    async with publishing(own_valkey.url) as publisher:
        async with asyncio.timeout(5):
            await publisher.drain()
        for seq in range(1, 6):
            await publisher.offer(batch(seq - 1, seq, (seq, USER)))
        async with running(publisher.drain()) as [draining]:
            await turns(1)
            assert not draining.done()
            async with asyncio.timeout(5):
                await draining
        for seq in range(1, 6):
            await hears(raw, seq, (seq - 1, seq))
