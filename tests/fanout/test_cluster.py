"""Buckets on the nodes of a real Valkey cluster: found, followed when their slots move, and each node's troubles its own (protocol.md 4)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from core.clock import SystemClock
from core.errors import RedisUnfitError
from core.events import NOTIFICATION, Event, Range
from fanout.buckets import Buckets
from fanout.connection import RedisConfig
from fanout.messages import decode_mark, encode_message
from fanout.nodes import Nodes
from fanout.publisher import Batch, Publisher
from fanout.reach import check_redis, open_redis
from fanout.redis_url import Address
from fanout.subscriptions import Subscriptions
from tests.fanout.listening import Recorder
from tests.own_cluster import Node, OwnCluster, own_cluster
from tests.parts import ROOT
from tests.waiting import running, until

COUNT = 12
NAMES = Buckets(COUNT, "c")


@pytest.fixture(scope="module")
def cluster() -> Iterator[OwnCluster]:
    """Three primaries, one for all tests here: each leaves all nodes running."""
    with own_cluster() as made:
        yield made


@dataclass
class Running:
    """Both ways over the cluster, and what was heard."""

    cluster: OwnCluster
    told: Recorder
    publishers: list[Publisher]
    subscriptions: Subscriptions
    end: int = 0

    def of(self, node: Node) -> set[int]:
        """The buckets that this node serves."""
        return {bucket for bucket in range(COUNT) if self.cluster.owner(NAMES.marks(bucket)) is node}

    async def heard_by_all(self) -> None:
        """A row for everyone, with its mark, is published in all buckets, and heard in all, in order."""
        await self.heard(set(range(COUNT)))

    async def heard(self, buckets: set[int]) -> None:
        start, self.end = self.end, self.end + 2
        event = Event(self.end - 1, NOTIFICATION, None, f'{{"id":{self.end},"user_id":null}}')
        for bucket in buckets:
            batch = Batch(Range(start, self.end), [(NAMES.everyone(bucket), encode_message(event, start))])
            assert await self.publishers[bucket].offer(batch)
        marks = {NAMES.marks(bucket) for bucket in buckets}
        await self.told.until(lambda: marks <= self._heard(self.end))
        for bucket in buckets:
            heard = [item[1] for item in self.told.told if not isinstance(item, str) and item[1] in _of(bucket)]
            assert heard[-2:] == [NAMES.everyone(bucket), NAMES.marks(bucket)]

    def _heard(self, end: int) -> set[bytes]:
        marks = [item for item in self.told.told if not isinstance(item, str) and item[1].endswith(b"mark")]
        return {channel for _, channel, payload in marks if decode_mark(payload).end == end}

    @asynccontextmanager
    async def disturbs(self, buckets: set[int]) -> AsyncIterator[None]:
        """What the block does interrupts these buckets, and they alone; all join again, before the block ends or soon after."""
        before = len(self.told.told)
        yield
        await self.told.until(lambda: self._joined(before) >= buckets)
        news = [item for item in self.told.told[before:] if isinstance(item, str)]
        assert {_number(item) for item in news} == buckets
        for bucket in buckets:
            own = [item.split()[0] for item in news if _number(item) == bucket]
            assert own[0] == "interrupted"
            assert own[-1] == "joined"

    def _joined(self, before: int) -> set[int]:
        news = [item for item in self.told.told[before:] if isinstance(item, str)]
        last = {_number(item): item for item in news}
        return {bucket for bucket, item in last.items() if item.startswith("joined")}


def _of(bucket: int) -> tuple[bytes, bytes]:
    return NAMES.everyone(bucket), NAMES.marks(bucket)


def _number(item: str) -> int:
    return int(item.split()[1]) if " " in item else 0


@asynccontextmanager
async def over(cluster: OwnCluster, url: str = "") -> AsyncIterator[Running]:
    told, clock = Recorder(), SystemClock()
    config = RedisConfig(url or cluster.url)
    out = Nodes(config, NAMES, clock)
    publishers = [Publisher(out, NAMES, bucket, clock) for bucket in range(COUNT)]
    subscriptions = Subscriptions(Nodes(config, NAMES, clock), NAMES, told, clock)
    async with running(subscriptions.run(), out.run(), *(publisher.run() for publisher in publishers)):
        made = Running(cluster, told, publishers, subscriptions)
        await told.until(lambda: made._joined(0) == set(range(COUNT)))
        await until(lambda: all(publisher.connected for publisher in publishers))
        yield made


async def _names(node: Node) -> list[str]:
    """Of the connections that this node has, as their owners call themselves."""
    async with Redis.from_url(node.url) as admin:
        return [client["name"] for client in await admin.client_list()]


async def test_every_bucket_is_heard_by_way_of_the_node_that_serves_it(cluster: OwnCluster) -> None:
    """One URL, of any node. Rule 4.7: one connection for each node, however many buckets it serves."""
    async with over(cluster) as run:
        assert all(run.of(node) for node in cluster.primaries)
        await run.heard_by_all()
        for node in cluster.primaries:
            names = await _names(node)
            assert names.count("rowcast-web") == 1
            assert names.count("rowcast-bridge") == len(run.of(node))


async def test_the_rights_that_the_docs_name_are_enough(cluster: OwnCluster) -> None:
    [line] = re.findall(r"^    (ACL SETUSER .*)$", (ROOT / "docs/redis.md").read_text(), re.MULTILINE)
    words = line.replace("&rowcast:*", "&c:*").split()
    for node in cluster.nodes:
        await node.ask(*words)
    _, _, place = cluster.url.partition("@")
    url = f"redis://rowcast:secret@{place}"
    await check_redis(RedisConfig(url), COUNT)
    async with over(cluster, url) as run:
        user = NAMES.user("1")
        with run.subscriptions.counted(user):
            await run.subscriptions.confirmed(user)
        await run.heard_by_all()


async def test_a_user_who_may_not_ask_for_slots_is_told_so(cluster: OwnCluster) -> None:
    await cluster.primaries[0].ask(
        *["ACL", "SETUSER", "other", "on", ">pw", "allkeys", "allchannels", "+@all", "-cluster|slots"]
    )
    _, _, place = cluster.url.partition("@")
    with pytest.raises(RedisUnfitError, match=r"\+cluster\|slots"):
        await check_redis(RedisConfig(f"redis://other:pw@{place}"))


async def test_a_cluster_with_one_bucket_works_and_is_warned_of(cluster: OwnCluster) -> None:
    with capture_logs() as logs:
        await check_redis(RedisConfig(cluster.url), 1)
    assert [log["event"] for log in logs] == ["cluster.one_bucket"]


async def test_any_of_several_addresses_leads_into_the_cluster(cluster: OwnCluster) -> None:
    login, _, place = cluster.url.partition("@")
    async with over(cluster, f"{login}@127.0.0.1:1,{place}") as run:
        await run.heard_by_all()


Move = Callable[[OwnCluster, bytes, Node], Awaitable[None]]


@pytest.mark.parametrize("move", [OwnCluster.move, OwnCluster.migrate], ids=["by hand", "CLUSTER MIGRATESLOTS"])
async def test_a_slot_that_moves_takes_its_bucket_along_and_disturbs_no_other(cluster: OwnCluster, move: Move) -> None:
    """Rule 4.4: an unsubscribe that nobody asked for. For the bucket its connection is over; the others saw nothing of it."""
    async with over(cluster) as run:
        bucket = min(run.of(cluster.primaries[0]))
        channel = NAMES.marks(bucket)
        home, user = cluster.owner(channel), next(str(n) for n in range(999) if NAMES.of(str(n)) == bucket)
        with run.subscriptions.counted(NAMES.user(user)):
            await run.subscriptions.confirmed(NAMES.user(user))
            for to in (cluster.other(home), home):
                # A bucket that comes back to a node gets a new connection there, and so do those that it shares it with.
                async with run.disturbs({bucket} if to is not home else {bucket} | run.of(home)):
                    await move(cluster, channel, to)
                await run.heard_by_all()
                assert await to.ask("PUBSUB", "SHARDNUMSUB", NAMES.user(user).decode()) == [NAMES.user(user), 1]


async def test_a_stream_that_comes_while_its_slot_moves_is_subscribed_where_it_went(cluster: OwnCluster) -> None:
    """SSUBSCRIBE may be answered by MOVED, before or after the node has said that the slot went."""
    async with over(cluster) as run:
        bucket = min(run.of(cluster.primaries[1]))
        channel = NAMES.marks(bucket)
        users = [NAMES.user(str(n)) for n in range(3000) if NAMES.of(str(n)) == bucket]
        home = cluster.owner(channel)

        async def visit(user: bytes) -> None:
            with run.subscriptions.counted(user):
                await run.subscriptions.confirmed(user)
                await asyncio.sleep(0)

        for to in (cluster.other(home), home):
            disturbed = {bucket} if to is not home else {bucket} | run.of(home)
            async with run.disturbs(disturbed), asyncio.TaskGroup() as tasks:
                moving = tasks.create_task(cluster.move(channel, to))
                for user in users:
                    tasks.create_task(visit(user))
                    await asyncio.sleep(0)
                await moving
            await run.heard_by_all()


@asynccontextmanager
async def knowing(url: str) -> AsyncIterator[Nodes]:
    """What somebody knows who has once been at the node of that URL."""
    config = RedisConfig(url)
    nodes = Nodes(config, NAMES, SystemClock())
    async with open_redis(config, name="test") as connection:
        assert await nodes.admit(config, connection) is None
    async with running(nodes.run()):
        yield nodes


async def test_who_serves_what_is_asked_again_without_any_occasion(
    cluster: OwnCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An old primary that was not told says nothing, and sends nobody away."""
    monkeypatch.setattr("fanout.nodes.LOOK_EVERY", 0.1)
    channel = NAMES.marks(0)
    home = cluster.owner(channel)
    async with knowing(cluster.url) as nodes:
        for to in (cluster.other(home), home):
            place = nodes.of(0)
            await cluster.move(channel, to)
            async with asyncio.timeout(10):
                await nodes.leaves(0, place)
            assert nodes.of(0).at == Address("127.0.0.1", to.port)


async def test_a_node_that_knows_less_than_is_known_is_not_believed(cluster: OwnCluster) -> None:
    """Another cluster stands for it, whose history is younger: all its nodes are well, and serve everything."""
    with own_cluster(primaries=1) as past:
        await cluster.primaries[0].ask("CLUSTER", "BUMPEPOCH")
        behind = past.primaries[0]
        async with knowing(cluster.url) as nodes:
            assert nodes.of(0).at != Address("127.0.0.1", behind.port)
            for _ in range(3):
                begun = nodes.begun
                nodes.sent_away(RedisConfig(cluster.url, Address("127.0.0.1", behind.port)))
                await until(lambda begun=begun: nodes.asked_since(begun))  # type: ignore[misc]
                assert nodes.of(0).at != Address("127.0.0.1", behind.port)


async def test_a_dead_node_interrupts_its_own_buckets_only(cluster: OwnCluster) -> None:
    async with over(cluster) as run:
        dead = cluster.primaries[2]
        async with run.disturbs(run.of(dead)):
            dead.kill()
            await run.told.until(lambda: "interrupted" in " ".join(map(str, run.told.told)))
            for _ in range(3):
                await run.heard(set(range(COUNT)) - run.of(dead))
            await asyncio.to_thread(dead.start)
        await until(lambda: all(publisher.connected for publisher in run.publishers))
        await run.heard_by_all()


async def test_a_node_that_falls_silent_is_left_and_no_other(cluster: OwnCluster) -> None:
    """What the silence watch of the hub does: rule 4.4."""
    async with over(cluster) as run:
        node = cluster.primaries[1]
        async with run.disturbs(run.of(node)):
            run.subscriptions.reconnect([min(run.of(node))])
        await run.heard_by_all()
