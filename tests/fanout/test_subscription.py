"""One way in on a real Valkey: what is confirmed is heard, and every way to miss something is told (protocol.md 4)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import redis.asyncio as redis

from fanout import subscription as module
from fanout.buckets import Buckets
from fanout.channels import Channels, Command
from fanout.connection import RedisConfig
from fanout.nodes import Nodes
from fanout.subscriptions import Subscriptions
from tests.clocks import HandClock, QuickClock
from tests.fanout.listening import Recorder, ask
from tests.fanout.own_valkey import OwnValkey
from tests.waiting import running, turns, until
from tests.wire import Wire

NAMES = Buckets(1, "x")
MARKS, USER, OTHER = NAMES.marks(0), NAMES.user("1"), NAMES.user("2")


@pytest.fixture
def told() -> Recorder:
    return Recorder()


@asynccontextmanager
async def subscribing(url: str, told: Recorder, clock: HandClock | None = None) -> AsyncIterator[Subscriptions]:
    clock = clock or QuickClock()
    subscription = Subscriptions(Nodes(RedisConfig(url), NAMES, clock), NAMES, told, clock)
    async with running(subscription.run()):
        yield subscription


@pytest.fixture
async def subscription(own_valkey: OwnValkey, told: Recorder) -> AsyncIterator[Subscriptions]:
    async with subscribing(own_valkey.url, told) as made:
        await told.tells("joined")
        yield made


async def subscribers(admin: redis.Redis, *channels: bytes) -> list[int]:
    """How many the server has, by its own account."""
    answer = await ask(admin, "PUBSUB", "SHARDNUMSUB", *channels)
    return [int(count) for count in answer[1::2]]


async def publish(admin: redis.Redis, channel: bytes, *payloads: bytes) -> None:
    for payload in payloads:
        await ask(admin, "SPUBLISH", channel, payload)


def arrived(channel: bytes, *payloads: bytes) -> list[tuple[str, bytes, bytes]]:
    return [("arrived", channel, payload) for payload in payloads]


async def test_what_is_published_after_the_confirmation_is_heard_in_order(
    subscription: Subscriptions, admin: redis.Redis, told: Recorder
) -> None:
    with subscription.counted(USER):
        await subscription.confirmed(USER)
        assert await subscribers(admin, USER) == [1]
        await publish(admin, USER, b"1", b"2")
        await publish(admin, MARKS, b"3")
        await publish(admin, OTHER, b"not ours")
        await publish(admin, USER, b"4")
        await told.tells("joined", *arrived(USER, b"1", b"2"), *arrived(MARKS, b"3"), *arrived(USER, b"4"))


async def test_joined_is_told_once_every_channel_is_confirmed(own_valkey: OwnValkey) -> None:
    """Rule 4.4: whoever then re-reads, in a new snapshot, has no gap before what is heard."""
    complete: list[bool] = []

    class Looking(Recorder):
        def joined(self, bucket: int) -> None:
            super().joined(bucket)
            complete.append(made._channels[bucket].joined)

    told = Looking()
    async with subscribing(own_valkey.url, told) as made:
        with made.counted(USER), made.counted(OTHER):
            await told.tells("joined")
            made.reconnect([0])
            await told.tells("joined", "interrupted", "joined")
    assert complete == [True, True]


async def test_a_channel_stays_subscribed_until_its_last_stream_is_gone(
    subscription: Subscriptions, admin: redis.Redis, told: Recorder
) -> None:
    """Rule 4.6: one task owns subscribing, and counts streams at the moment it writes."""
    with subscription.counted(USER):
        await subscription.confirmed(USER)
        with subscription.counted(USER):
            await subscription.confirmed(USER)
            assert subscription.channels == 3
        await publish(admin, USER, b"1")
        await told.tells("joined", *arrived(USER, b"1"))
        assert await subscribers(admin, USER) == [1]

    async def unsubscribed() -> bool:
        return await subscribers(admin, USER) == [0]

    await until(unsubscribed)
    await until(lambda: subscription.channels == 2)
    await publish(admin, MARKS, b"2")
    await told.tells("joined", *arrived(USER, b"1"), *arrived(MARKS, b"2"))


async def test_streams_that_come_and_go_in_a_hurry_cause_no_interruption(
    subscription: Subscriptions, admin: redis.Redis, told: Recorder
) -> None:
    """Rule 4.6: no SSUBSCRIBE for a channel that is confirmed; its answer would be taken for a reconnection."""

    async def visit(number: int) -> None:
        channel = (USER, OTHER)[number % 2]
        with subscription.counted(channel):
            if number % 3:
                await subscription.confirmed(channel)
            await turns(number % 5)

    for _ in range(10):
        async with asyncio.TaskGroup() as tasks:
            for number in range(30):
                tasks.create_task(visit(number))
    with subscription.counted(USER):
        await subscription.confirmed(USER)
        await publish(admin, USER, b"last")
        await told.tells("joined", *arrived(USER, b"last"))


@pytest.mark.parametrize("how", ["CLIENT KILL", "restart", "reconnect()", "the link is cut"])
async def test_an_interruption_is_told_and_everything_is_subscribed_again(
    how: str, own_valkey: OwnValkey, link: Wire, told: Recorder
) -> None:
    """Rule 4.4: throw the connection away, make a new one, subscribe every channel; facts 0.7: redis-py hides it."""
    async with subscribing(link.url, told) as subscription, redis.Redis.from_url(own_valkey.url) as admin:
        ways: dict[str, Callable[[], object]] = {
            "CLIENT KILL": lambda: ask(admin, "CLIENT", "KILL", "TYPE", "pubsub"),
            "restart": own_valkey.stop,
            "reconnect()": lambda: subscription.reconnect([0]),
            "the link is cut": link.reset,
        }
        with subscription.counted(USER), subscription.counted(OTHER):
            await told.tells("joined")
            await subscription.confirmed(USER)
            await subscription.confirmed(OTHER)
            done = ways[how]()
            if asyncio.iscoroutine(done):
                await done
            await told.until(lambda: "interrupted" in told.told)
            if how == "restart":
                own_valkey.start()
            await told.tells("joined", "interrupted", "joined")
            await admin.ping()
            assert await subscribers(admin, MARKS, USER, OTHER) == [1, 1, 1]
            await publish(admin, OTHER, b"1")
            await told.tells("joined", "interrupted", "joined", *arrived(OTHER, b"1"))


@pytest.mark.parametrize(
    "words",
    [
        b"*3\r\n$10\r\nssubscribe\r\n$%d\r\n%s\r\n:1\r\n" % (len(USER), USER),
        b"*3\r\n$12\r\nsunsubscribe\r\n$%d\r\n%s\r\n:0\r\n" % (len(USER), USER),
        b"*3\r\n$12\r\nsunsubscribe\r\n$%d\r\n%s\r\n:0\r\n" % (len(MARKS), MARKS),
        b"-ERR unknown\r\n",
        b"*2\r\n$3\r\nfoo\r\n$3\r\nbar\r\n",
    ],
    ids=["confirmation", "unsubscribe", "unsubscribe of another", "error", "gibberish"],
)
async def test_what_no_command_of_ours_asked_for_is_an_interruption(link: Wire, told: Recorder, words: bytes) -> None:
    """Rule 4.4."""
    async with subscribing(link.url, told) as subscription:
        with subscription.counted(USER):
            await told.tells("joined")
            await subscription.confirmed(USER)
            link.inject(words)
            await told.tells("joined", "interrupted", "joined")
            assert link.opened == 2


async def test_a_bucket_whose_slot_moved_hears_nothing_more_on_that_connection(
    admin: redis.Redis, link: Wire, told: Recorder
) -> None:
    """Rule 4.4: a node of a cluster unsubscribes what it gives away. For that bucket the connection is over, and for no other."""
    names, clock = Buckets(2, "x"), HandClock()
    nodes = Nodes(RedisConfig(link.url), names, clock)
    nodes.clustered = True
    gone, stays = names.marks(1), names.marks(0)
    async with running(Subscriptions(nodes, names, told, clock).run()):
        await told.tells("joined", "joined 1")
        link.inject(b"*3\r\n$12\r\nsunsubscribe\r\n$%d\r\n%s\r\n:0\r\n" % (len(gone), gone))
        link.inject(b"*3\r\n$10\r\nssubscribe\r\n$%d\r\n%s\r\n:0\r\n" % (len(gone), gone))
        await told.until(lambda: "interrupted 1" in told.told)
        await publish(admin, gone, b"of before")
        await publish(admin, stays, b"1")
        await told.tells("joined", "joined 1", "interrupted 1", *arrived(stays, b"1"))


async def test_without_a_connection_nobody_waits_and_the_next_one_is_complete(
    own_valkey: OwnValkey, link: Wire, told: Recorder
) -> None:
    """Rule 4.4: what is wanted while there is no connection is subscribed by the next, before it counts as joined."""
    link.refuse()
    clock = HandClock()
    async with subscribing(link.url, told, clock) as subscription:
        await until(lambda: clock.sleeping > 0)
        with subscription.counted(USER):
            async with asyncio.timeout(5):
                await subscription.confirmed(USER)
            assert told.told == []
            link.heal()
            clock.advance(10)
            await told.tells("joined")
            async with redis.Redis.from_url(own_valkey.url) as admin:
                assert await subscribers(admin, USER) == [1]


async def test_who_waits_for_a_confirmation_is_released_when_the_connection_goes(link: Wire, told: Recorder) -> None:
    """Its stream lives on re-reads until the next connection is joined."""
    async with subscribing(link.url, told, HandClock()) as subscription:
        await told.tells("joined")
        link.black_hole(up=False)
        with subscription.counted(USER):
            async with running(subscription.confirmed(USER)) as [waiting]:
                await link.swallows(USER)
                assert not waiting.done()
                link.reset()
                async with asyncio.timeout(5):
                    await waiting
    assert told.told == ["joined", "interrupted"]


async def test_a_confirmation_that_does_not_come_ends_the_connection_however_much_else_is_heard(
    admin: redis.Redis, link: Wire, told: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half open: what we say is lost, marks go on. Who waits to be subscribed would wait for ever."""
    monkeypatch.setattr(module, "JOIN_TIMEOUT", 0.2)
    async with subscribing(link.url, told, HandClock()) as subscription:
        await told.tells("joined")
        link.black_hole(down=False)
        with subscription.counted(USER):
            async with running(subscription.confirmed(USER)) as [waiting]:
                await link.swallows(USER, "up")
                await publish(admin, MARKS, b"still heard")
                async with asyncio.timeout(5):
                    await waiting
    assert told.told == ["joined", *arrived(MARKS, b"still heard"), "interrupted"]


@pytest.mark.slow
async def test_a_server_that_takes_the_connection_and_hangs_is_tried_again(
    link: Wire, told: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So does a half-open link, which redis-py never notices (facts 0.9)."""
    clock = HandClock()
    async with subscribing(link.url, told, clock) as subscription:
        await told.tells("joined")
        link.black_hole(up=False)
        monkeypatch.setattr("fanout.connection.CONNECT_TIMEOUT", 0.2)
        subscription.reconnect([0])
        await told.tells("joined", "interrupted")
        await until(lambda: clock.sleeping > 0)
        clock.advance(10)
        await until(lambda: clock.sleeping > 0)
        link.heal()
        clock.advance(10)
        await told.tells("joined", "interrupted", "joined")


async def test_a_server_that_hangs_while_joining_is_given_up(
    own_valkey: OwnValkey, admin: redis.Redis, told: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "JOIN_TIMEOUT", 0.3)
    real = Channels.connected
    freeze = iter([own_valkey.freeze])

    def connected_and_pausing(channels: Channels) -> list[Command]:
        # The connection stands; from here on the server answers nothing.
        next(freeze, bool)()
        return real(channels)

    monkeypatch.setattr(Channels, "connected", connected_and_pausing)
    async with subscribing(own_valkey.url, told):
        await told.tells("interrupted")
        own_valkey.thaw()
        await told.tells("interrupted", "joined")
