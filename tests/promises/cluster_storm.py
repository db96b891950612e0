"""What may befall a cluster, drawn by chance, two or three things at a time."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

from redis.exceptions import RedisError

from fanout.buckets import Buckets
from fanout.slots import slot_of
from tests.own_cluster import Node, OwnCluster

_log = logging.getLogger("tests.storm")


async def storm(cluster: OwnCluster, names: Buckets, rng: random.Random, *, seconds: float) -> None:
    """Nodes die, hang and are promoted; slots move; clients are cut off. At the end all nodes run and no slot is on its way."""
    lanes = (_nodes_fail, _slots_move, _clients_are_cut)
    async with asyncio.timeout(seconds + 60), asyncio.TaskGroup() as tasks:
        ending = asyncio.get_running_loop().time() + seconds
        for lane in lanes:
            tasks.create_task(_again_until(ending, lane, cluster, names, random.Random(rng.random())))
    for bucket in range(names.count):
        for node in cluster.nodes:
            await _try(node.ask("CLUSTER", "SETSLOT", slot_of(names.marks(bucket)), "STABLE"))


Lane = Callable[[OwnCluster, Buckets, random.Random], Awaitable[None]]


async def _again_until(ending: float, lane: Lane, cluster: OwnCluster, names: Buckets, rng: random.Random) -> None:
    while asyncio.get_running_loop().time() < ending:
        await lane(cluster, names, rng)
        await asyncio.sleep(rng.uniform(0.1, 1.5))


async def _nodes_fail(cluster: OwnCluster, names: Buckets, rng: random.Random) -> None:
    node, what = rng.choice(cluster.nodes), rng.choice(("dies", "hangs", "is promoted"))
    _log.info("node %s %s", node.port, what)
    if what == "is promoted":
        await _try(node.ask("CLUSTER", "FAILOVER"))
    elif what == "dies":
        node.kill()
        await asyncio.sleep(rng.uniform(0.0, 5.0))
        await asyncio.to_thread(node.start)
    else:
        node.freeze()
        await asyncio.sleep(rng.uniform(0.1, 5.0))
        node.thaw()


async def _slots_move(cluster: OwnCluster, names: Buckets, rng: random.Random) -> None:
    channel, to = names.marks(rng.randrange(names.count)), rng.choice(cluster.nodes)
    way: Callable[[bytes, Node], Awaitable[None]] = rng.choice((cluster.move, cluster.migrate))
    _log.info("slot %s moves to %s", slot_of(channel), to.port)

    await _try(way(channel, to))


async def _clients_are_cut(cluster: OwnCluster, names: Buckets, rng: random.Random) -> None:
    kind = rng.choice(("normal", "pubsub"))
    await _try(rng.choice(cluster.nodes).ask("CLIENT", "KILL", "TYPE", kind))


async def _try(act: Awaitable[object]) -> None:
    """What a node refuses, because it hangs or is not the one for it, is not done."""
    try:
        async with asyncio.timeout(3):
            await act
    except (RedisError, OSError, TimeoutError, AssertionError) as error:
        _log.info("not done: %r", error)
