"""A Valkey cluster of the tests' own: real nodes from the wheel, whose slots move, that die, come back, and are promoted."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
from redis.asyncio import Redis
from redis.exceptions import RedisError

from fanout.slots import slot_of
from rowcast.embedded import Server, start_valkey
from rowcast.folders import prepare_folder
from tests.rig import free_port
from tests.servers import folder
from tests.waiting import until
from tests.wire import Wire, wire

SLOTS = 16384
# Milliseconds after which a node that says nothing counts as failed.
NODE_TIMEOUT = 2000
_FORMS_WITHIN = 30.0


@dataclass
class Node:
    """One server; its place, and what it knows of the cluster, stay over restarts."""

    state: Path
    full_coverage: bool = False
    port: int = field(default_factory=free_port)
    bus: int = field(default_factory=free_port)  # where it listens for the others
    way: Wire | None = None  # to there, if not straight
    server: Server | None = None
    id: str = ""

    @property
    def url(self) -> str:
        assert self.server is not None
        return self.server.url

    @property
    def announced(self) -> int:
        """Where the others reach it."""
        return self.way.port if self.way else self.bus

    def start(self) -> None:
        self.server = start_valkey(self.state, port=self.port, settings=self.settings)

    @property
    def settings(self) -> dict[str, str]:
        """Lines of its configuration."""
        return {
            "cluster-enabled": "yes",
            "cluster-port": str(self.bus),
            "cluster-announce-bus-port": str(self.announced),
            "cluster-node-timeout": str(NODE_TIMEOUT),
            "cluster-require-full-coverage": "yes" if self.full_coverage else "no",
            "cluster-replica-validity-factor": "0",
            "masterauth": (self.state / "valkey.password").read_text("utf-8").strip(),
        }

    def kill(self) -> None:
        """Without a word."""
        if self.server is not None:
            self._send(signal.SIGKILL)
            self.stop()

    def stop(self) -> None:
        if self.server is not None:
            self.thaw()
            self.server.stop()
            self.server = None

    def freeze(self) -> None:
        """It keeps its connections and says nothing."""
        self._send(signal.SIGSTOP)

    def thaw(self) -> None:
        self._send(signal.SIGCONT)

    def ask_now(self, *words: str | int) -> Any:
        """What it answers to this command; for the time before there is an event loop."""
        with redis.Redis.from_url(self.url, socket_timeout=1) as admin:
            execute: Any = admin.execute_command
            return execute(*words)

    async def ask(self, *words: str | int) -> Any:
        """What it answers to this command."""
        async with Redis.from_url(self.url, socket_timeout=3) as admin:
            execute: Any = admin.execute_command
            return await execute(*words)

    def _send(self, number: signal.Signals) -> None:
        if self.server is not None and self.server.alive():
            os.kill(self.server.pid, number)


@dataclass
class OwnCluster:
    """Primaries with an equal share of the slots each, and a replica for each, if wanted."""

    primaries: list[Node]
    replicas: list[Node]

    @property
    def nodes(self) -> list[Node]:
        return self.primaries + self.replicas

    @property
    def url(self) -> str:
        """Of one node; the others are to be found."""
        return self.primaries[0].url

    def form(self) -> None:
        """Start all nodes and make a cluster of them."""
        password = self.primaries[0].state / "valkey.password"
        for node in self.nodes:
            prepare_folder(node.state)
            if node is not self.primaries[0]:
                shutil.copy2(password, node.state / "valkey.password")
            else:
                password.write_text("of-the-cluster\n", "utf-8")
            node.start()
            node.id = node.ask_now("CLUSTER", "MYID").decode()
        for number, node in enumerate(self.primaries):
            first, last = (SLOTS * n // len(self.primaries) for n in (number, number + 1))
            node.ask_now("CLUSTER", "ADDSLOTSRANGE", first, last - 1)
            node.ask_now("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for node in self.nodes[1:]:
            self.primaries[0].ask_now("CLUSTER", "MEET", "127.0.0.1", node.port, node.announced)
        self._wait(lambda: all(len(self._table(node)) == len(self.nodes) for node in self.nodes))
        for replica, primary in zip(self.replicas, self.primaries, strict=False):
            replica.ask_now("CLUSTER", "REPLICATE", primary.id)
        self._wait(lambda: all(self._is_well(node) for node in self.nodes))

    def owner(self, channel: bytes) -> Node:
        """Who serves this channel, by the account of the first node that answers."""
        slot = slot_of(channel)
        for asked in self.nodes:
            with suppress(RedisError, AssertionError):
                ranges = asked.ask_now("CLUSTER", "SLOTS")
                port = next(primary[1] for start, end, primary, *_ in ranges if start <= slot <= end)
                return next(node for node in self.nodes if node.port == port)
        raise AssertionError("no node answers")

    def other(self, node: Node) -> Node:
        """Another primary."""
        return next(each for each in self.primaries if each is not node)

    def partner(self, node: Node) -> Node:
        """Of a primary and its replica, whichever of them is which by now, the other one."""
        pairs = zip(self.primaries, self.replicas, strict=True)
        return next(other for pair in pairs for one, other in (pair, pair[::-1]) if one is node)

    async def move(self, channel: bytes, to: Node) -> None:
        """Give the slot of this channel to another primary, by hand, as tools do it: the new owner is told first."""
        slot, owner = slot_of(channel), self.owner(channel)
        await to.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", owner.id)
        await owner.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", to.id)
        await to.ask("CLUSTER", "SETSLOT", slot, "NODE", to.id)
        for node in self.nodes:
            if node is not to and node.server is not None:
                await node.ask("CLUSTER", "SETSLOT", slot, "NODE", to.id)

    async def migrate(self, channel: bytes, to: Node) -> None:
        """The same by Valkey 9's own means; returns when it has happened."""
        slot, owner = slot_of(channel), self.owner(channel)
        await owner.ask("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", to.id)
        await until(lambda: self.owner(channel) is to, timeout=30)

    async def promote(self, replica: Node) -> None:
        """The replica takes over from its primary, which lives and follows it from then on."""
        await replica.ask("CLUSTER", "FAILOVER")
        await self.promoted(replica)

    async def promoted(self, replica: Node) -> None:
        """Wait until it is a primary."""
        await until(lambda: replica.ask_now("ROLE")[0] == b"master", timeout=30)

    async def in_step(self, replica: Node) -> None:
        """Wait until it is a replica that has what its primary has."""
        try:
            await until(lambda: replica.ask_now("ROLE")[::3] == [b"slave", b"connected"], timeout=30)
        except TimeoutError:
            raise AssertionError(f"{replica.ask_now('ROLE')} at {replica.port}:\n{self._views()}") from None

    async def well(self) -> None:
        """Wait until all nodes are in step, and no slot is between two."""
        await until(lambda: all(self._is_well(node) for node in self.nodes), timeout=60)

    def stop(self) -> None:
        for node in self.nodes:
            node.stop()

    def _views(self) -> str:
        """What each node that answers knows of all."""
        views = ""
        for node in self.nodes:
            with suppress(RedisError, AssertionError):
                views += "\n".join([f"as {node.port} sees it", *self._table(node), ""])
        return views

    @staticmethod
    def _table(node: Node) -> list[str]:
        lines: list[str] = node.ask_now("CLUSTER", "NODES").decode().splitlines()
        return [line for line in lines if "handshake" not in line]

    def _is_well(self, node: Node) -> bool:
        try:
            well = b"cluster_state:ok" in node.ask_now("CLUSTER", "INFO")
            replicas = sum(" slave" in line or ",slave" in line for line in self._table(node))
        except RedisError:
            return False
        return well and replicas == len(self.replicas)

    @staticmethod
    def _wait(condition: Any) -> None:
        deadline = time.monotonic() + _FORMS_WITHIN
        while not condition():
            assert time.monotonic() < deadline, "the cluster does not form"
            time.sleep(0.02)


@contextmanager
def _prepared(primaries: int, replicas: bool, full_coverage: bool) -> Iterator[OwnCluster]:
    with folder() as state:
        nodes = [Node(state / f"node{n}", full_coverage) for n in range(primaries * (2 if replicas else 1))]
        made = OwnCluster(nodes[:primaries], nodes[primaries:])
        try:
            yield made
        finally:
            made.stop()


@contextmanager
def own_cluster(*, primaries: int = 3, replicas: bool = False, full_coverage: bool = False) -> Iterator[OwnCluster]:
    """A cluster that is well, until the end of the block."""
    with _prepared(primaries, replicas, full_coverage) as made:
        made.form()
        yield made


@asynccontextmanager
async def wired_cluster() -> AsyncIterator[OwnCluster]:
    """The same, with replicas, and a wire on the way to each node that the others reach it by (`way`)."""
    with _prepared(3, replicas=True, full_coverage=False) as made:
        async with AsyncExitStack() as stack:
            for node in made.nodes:
                node.way = await stack.enter_async_context(wire(f"redis://127.0.0.1:{node.bus}"))
            await asyncio.to_thread(made.form)
            yield made
