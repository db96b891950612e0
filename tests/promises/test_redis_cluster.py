"""A Redis Cluster under load: slots move, nodes die and return, replicas are promoted, a node is cut off. Row 34 of the fault matrix in
docs/delivery.md. Nothing is lost, nothing comes twice, and who is served by another node notices nothing.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from fanout.buckets import Buckets
from tests.db.databases import Databases
from tests.own_cluster import Node, OwnCluster, own_cluster, wired_cluster
from tests.promises.cluster_storm import storm
from tests.promises.health import unready
from tests.promises.load import USERS, Load, under_load
from tests.rig import Process, Rig, ready, rig
from tests.waiting import until

pytestmark = pytest.mark.slow

_log = logging.getLogger("tests.cluster")

# Enough that users 1, 2 and 3 are on three nodes.
NAMES = Buckets(11, "cluster")
HEALS = 10.0
# What a user of another node may notice: what the machine does meanwhile, and a standby or a node that starts beside it.
NOTICED = 1.0


@dataclass
class Clustered:
    """What runs over the cluster."""

    own: Rig
    cluster: OwnCluster
    bridge: Process
    webs: list[tuple[str, Process]]
    load: Load

    def home(self, user: int) -> Node:
        """The node that serves this user."""
        return self.cluster.owner(NAMES.user(str(user)))

    def users_elsewhere(self, *nodes: Node) -> list[int]:
        return [user for user in USERS if self.home(user) not in nodes]

    @asynccontextmanager
    async def undisturbed(self, *users: int) -> AsyncIterator[None]:
        """Whatever the block does: these users have every row of it at once."""
        assert users
        began = time.monotonic()
        yield
        await self.load.flows()
        for user in users:
            late = self.load.latest(user, began)
            _log.info("user %s of another node: the latest row came after %.3f s", user, late)
            assert late < NOTICED, (user, late, self.bridge.log, *(web.log for _, web in self.webs))

    async def heals(self) -> None:
        """Every stream flows and every process is ready, and it is Redis that the rows come by."""
        began = time.monotonic()
        await self.load.flows(within=HEALS)
        for url, web in self.webs:
            await ready(url, web, timeout=HEALS - (time.monotonic() - began))
        _log.info("all is well again after %.1f s", time.monotonic() - began)
        self.load.writer.unharmed()


@asynccontextmanager
async def clustered(databases: Databases, cluster: OwnCluster) -> AsyncIterator[Clustered]:
    """A bridge, two web processes and clients, until the end of the block; then everything has arrived once and in order."""
    with databases.empty() as address:
        async with rig(address, cluster.url, prefix=NAMES.prefix, retry="0.1", buckets=str(NAMES.count)) as own:
            await own.migrate()
            bridge = await own.bridge()
            webs = [await own.web() for _ in range(2)]
            async with under_load(own, *(url for url, _ in webs)) as load:
                yield Clustered(own, cluster, bridge, webs, load)


@pytest.fixture(scope="module")
def plain() -> Iterator[OwnCluster]:
    """Three primaries; each test leaves all running."""
    with own_cluster() as made:
        assert len({id(made.owner(NAMES.user(str(user)))) for user in USERS}) == len(USERS)
        yield made


async def test_slots_that_move_under_load(databases: Databases, plain: OwnCluster) -> None:
    """To and fro, by hand and by Valkey's own means; whose slot doesn't move, and is on neither of the two nodes, notices nothing."""
    async with clustered(databases, plain) as c:
        mover, bystander = 1, 3
        channel, home, other = NAMES.user(str(mover)), c.home(mover), c.home(2)
        ways: list[Callable[[bytes, Node], object]] = [plain.move, plain.migrate] * 3
        for number, way in enumerate(ways):
            async with c.undisturbed(bystander):
                moving = way(channel, home if number % 2 else other)
                assert asyncio.iscoroutine(moving)
                await moving
            await c.heals()


async def test_all_slots_of_a_node_move_away_and_back_under_load(databases: Databases, plain: OwnCluster) -> None:
    """As when a node is taken out and put in again."""
    async with clustered(databases, plain) as c:
        leaving, taking = c.home(1), c.home(2)
        moved = [b for b in range(NAMES.count) if plain.owner(NAMES.marks(b)) is leaving]
        for to in (taking, leaving):
            async with c.undisturbed(3):
                for bucket in moved:
                    await plain.move(NAMES.marks(bucket), to)
            await c.heals()


async def test_a_node_killed_under_load_delays_its_own_users_only(databases: Databases, plain: OwnCluster) -> None:
    """Its users are served from Postgres until it is back."""
    async with clustered(databases, plain) as c:
        for user in USERS:
            dead = c.home(user)
            async with c.undisturbed(*c.users_elsewhere(dead)):
                dead.kill()
                for url, web in c.webs:
                    assert "subscriptions" in await unready(url, web)
                for _ in range(3):
                    assert await c.load.flows() < 5
                await asyncio.to_thread(dead.start)
                await c.heals()


async def test_a_frozen_node_delays_its_own_users_only(databases: Databases, plain: OwnCluster) -> None:
    """It keeps its connections and takes nothing: the bridge must not wait for it with the rows of others."""
    async with clustered(databases, plain) as c:
        frozen = c.home(2)
        async with c.undisturbed(*c.users_elsewhere(frozen)):
            frozen.freeze()
            for url, web in c.webs:
                await unready(url, web)
            for _ in range(3):
                assert await c.load.flows() < 6
            frozen.thaw()
            await c.heals()


async def test_replicas_are_promoted_when_their_primaries_die_and_old_primaries_return(databases: Databases) -> None:
    with own_cluster(replicas=True) as cluster:
        async with clustered(databases, cluster) as c:
            for _ in range(2):
                dead = c.home(1)
                successor = cluster.partner(dead)
                async with c.undisturbed(*c.users_elsewhere(dead)):
                    dead.kill()
                    await cluster.promoted(successor)
                    began = time.monotonic()
                    await c.heals()
                    _log.info("healed %.1f s after the promotion", time.monotonic() - began)
                    await asyncio.to_thread(dead.start)
                    await cluster.in_step(dead)
                await c.heals()


async def test_replicas_are_promoted_on_request(databases: Databases) -> None:
    """CLUSTER FAILOVER: the old primary lives on as a replica, takes subscribers and messages as before, and must be left all the same."""
    with own_cluster(replicas=True) as cluster:
        async with clustered(databases, cluster) as c:
            for _ in range(3):
                old = c.home(1)
                successor = cluster.partner(old)
                async with c.undisturbed(*c.users_elsewhere(old)):
                    await cluster.promote(successor)
                    await c.heals()


@pytest.mark.parametrize("seed", [1, 2])
async def test_whatever_befalls_a_cluster_at_once(databases: Databases, seed: int) -> None:
    """Half a minute of what else comes alone, drawn by chance and overlapping; its end may find anybody anywhere."""
    with own_cluster(replicas=True) as cluster:
        async with clustered(databases, cluster) as c:
            await storm(cluster, NAMES, random.Random(seed), seconds=30)
            await cluster.well()
            await c.heals()


async def test_an_old_primary_that_was_not_told_misleads_nobody_for_long(databases: Databases) -> None:
    """It was away when its replica was promoted, and the two can't reach each other: it sees all well, and takes whatever it is given. A bridge
    and a web process that know no other node find the new one all the same; the one by asking around, the other by the silence, too.
    """
    async with wired_cluster() as cluster, clustered(databases, cluster) as c:
        old = c.home(1)
        successor = cluster.partner(old)
        async with c.undisturbed(*c.users_elsewhere(old)):
            assert old.way is not None
            assert successor.way is not None
            old.freeze()
            old.way.black_hole()  # from now on, for news of the promotion would wait in its sockets
            await cluster.promoted(successor)
            successor.way.black_hole()
            old.thaw()
            await until(lambda: _still_believes_in_itself(old))
            await c.heals()
        assert await _still_believes_in_itself(old)
        await c.bridge.kill()
        await c.own.bridge(redis_url=old.url)
        await c.heals()
        await c.own.web(redis_url=old.url)
        await c.heals()
        assert await _still_believes_in_itself(old)
        old.way.heal()
        successor.way.heal()
        await cluster.in_step(old)
        await c.heals()


async def _still_believes_in_itself(node: Node) -> bool:
    slots = await node.ask("CLUSTER", "SLOTS")
    well = b"cluster_state:ok" in await node.ask("CLUSTER", "INFO")
    return well and node.port in {primary[1] for _, _, primary, *_ in slots}
