"""A Valkey with a replica, and three Sentinels that watch over them: all from the wheel."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from rowcast.children import Child, start_child
from rowcast.embedded.binaries import valkey_program
from rowcast.folders import prepare_folder, server_account, write_private
from tests.own_cluster import Node
from tests.rig import free_port
from tests.servers import folder
from tests.waiting import until

NAME = "mymaster"
PASSWORD = "of-the-servers"
SENTINELS = 3
SENTINEL_PASSWORD = "of-the-sentinels"
# Milliseconds. They ask once in a second, so a single answer that is late under load is not yet a death.
DOWN_AFTER = 2000


class WatchedNode(Node):
    """One server; each Sentinel has a user of its own there, to be shut out by."""

    @property
    def settings(self) -> dict[str, str]:
        users = {f"user sentinel{n}": f"on >{PASSWORD} ~* &* +@all" for n in range(SENTINELS)}
        return users | {"masterauth": PASSWORD}


@dataclass
class Sentinel:
    """One of those who watch."""

    number: int
    state: Path
    watched_port: int
    port: int = field(default_factory=free_port)
    child: Child | None = None

    def start(self) -> None:
        prepare_folder(self.state)
        account = server_account()
        lines = (
            "bind 127.0.0.1",
            f"port {self.port}",
            f"dir {self.state}",
            f"requirepass {SENTINEL_PASSWORD}",
            f"sentinel sentinel-pass {SENTINEL_PASSWORD}",
            f"sentinel monitor {NAME} 127.0.0.1 {self.watched_port} 2",
            f"sentinel auth-user {NAME} sentinel{self.number}",
            f"sentinel auth-pass {NAME} {PASSWORD}",
            f"sentinel down-after-milliseconds {NAME} {DOWN_AFTER}",
            f"sentinel failover-timeout {NAME} 4000",
        )
        configuration = self.state / "sentinel.conf"
        write_private(configuration, "\n".join(lines) + "\n", account)
        if account:
            os.chown(self.state, account.uid, account.gid)  # it writes down there what it learns
        self.child = start_child(
            "sentinel",
            [str(valkey_program(self.state, account)), str(configuration), "--sentinel"],
            env=dict(os.environ),
            signals=((signal.SIGTERM, 5.0),),
            log=self.state / "sentinel.log",
            account=account,
            cwd="/",
        )

    @property
    def admin(self) -> str:
        """Its address for who may do everything there."""
        return f"redis://:{SENTINEL_PASSWORD}@127.0.0.1:{self.port}"

    async def ask(self, *words: str | int) -> Any:
        """What it answers to this command."""
        async with Redis.from_url(self.admin, socket_timeout=1) as admin:
            execute: Any = admin.execute_command
            return await execute(*words)

    async def primary(self) -> int:
        """The port of whom it calls the primary; 0 if it does not answer."""
        try:
            return int((await self.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME))[1])
        except RedisError:
            return 0

    def freeze(self) -> None:
        self._send(signal.SIGSTOP)

    def thaw(self) -> None:
        self._send(signal.SIGCONT)

    def stop(self) -> None:
        if self.child is not None:
            self.thaw()
            self.child.stop()

    def _send(self, number: signal.Signals) -> None:
        assert self.child is not None
        if self.child.alive():
            os.kill(self.child.pid, number)


@dataclass
class Watched:
    """Who is the primary is what most Sentinels say."""

    nodes: list[WatchedNode]
    sentinels: list[Sentinel]
    name: str = NAME
    primary: WatchedNode = field(init=False)

    def __post_init__(self) -> None:
        self.primary = self.nodes[0]

    @property
    def everybody(self) -> list[Node | Sentinel]:
        return [*self.nodes, *self.sentinels]

    @property
    def url(self) -> str:
        return self.url_for("default", PASSWORD, "default", SENTINEL_PASSWORD)

    def url_for(self, user: str, password: str, sentinel_user: str, sentinel_password: str) -> str:
        """For that user of the servers and that one of the Sentinels."""
        places = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        options = f"sentinel_username={sentinel_user}&sentinel_password={sentinel_password}"
        return f"redis+sentinel://{user}:{password}@{places}/{NAME}?{options}"

    async def begin(self) -> None:
        for node in self.nodes:
            prepare_folder(node.state)
            (node.state / "valkey.password").write_text(PASSWORD + "\n", "utf-8")
            await asyncio.to_thread(node.start)
        await self.nodes[1].ask("REPLICAOF", "127.0.0.1", self.nodes[0].port)
        await until(lambda: _follows(self.nodes[1], self.primary))
        for sentinel in self.sentinels:
            await asyncio.to_thread(sentinel.start)
        await until(self._all_know_all, timeout=30)

    async def fails_over(self, old: WatchedNode) -> None:
        """Wait until another node is the primary, and most Sentinels say so."""
        [new] = [node for node in self.nodes if node is not old]
        await until(lambda: self._most_say(new.port), timeout=30)
        await until(lambda: _role(new)[:1] == [b"master"], timeout=30)
        self.primary = new

    async def settles(self) -> None:
        """Wait until one node is the primary that most Sentinels name, and the other its replica that has all it has.

        Which is which is for them to say: one that learns of a failover late may ask for the next at once.
        """
        await until(self._settled, timeout=60)  # Sentinels take their time

    async def cut_off(self, node: WatchedNode) -> None:
        """No Sentinel reaches it any more."""
        for sentinel in self.sentinels:
            user = f"sentinel{sentinel.number}"
            await node.ask("ACL", "SETUSER", user, "off")
            await node.ask("CLIENT", "KILL", "USER", user)

    async def join_again(self) -> None:
        """Everybody reaches everybody."""
        for node in self.nodes:
            for sentinel in self.sentinels:
                await node.ask("ACL", "SETUSER", f"sentinel{sentinel.number}", "on")

    def stop(self) -> None:
        for sentinel in self.sentinels:
            sentinel.stop()
        for node in self.nodes:
            node.stop()

    async def _most_say(self, port: int) -> bool:
        said = [await sentinel.primary() for sentinel in self.sentinels]
        return said.count(port) > SENTINELS // 2

    async def _settled(self) -> bool:
        for primary, replica in (self.nodes, self.nodes[::-1]):
            if _follows(replica, primary) and _role(primary)[:1] == [b"master"] and await self._most_say(primary.port):
                self.primary = primary
                return True
        return False

    async def _all_know_all(self) -> bool:
        try:
            told = [await sentinel.ask("SENTINEL", "MASTER", NAME) for sentinel in self.sentinels]
        except RedisError:
            return False
        return all(int(one[b"num-slaves"]) == 1 and int(one[b"num-other-sentinels"]) == SENTINELS - 1 for one in told)


def _role(node: WatchedNode) -> list[Any]:
    """What it says it is; nothing while it ends its clients for being something else."""
    try:
        return list(node.ask_now("ROLE"))
    except RedisError:
        return []


def _follows(node: WatchedNode, primary: WatchedNode) -> bool:
    """Whether it is a replica of that one, and has what that has."""
    match _role(node):
        case [b"slave", _, port, b"connected", *_]:
            return int(port) == primary.port
    return False


@asynccontextmanager
async def watched() -> AsyncIterator[Watched]:
    """All know each other, until the end of the block."""
    with folder() as state:
        nodes = [WatchedNode(state / f"node{n}") for n in range(2)]
        made = Watched(nodes, [Sentinel(n, state / f"sentinel{n}", nodes[0].port) for n in range(SENTINELS)])
        try:
            await made.begin()
            yield made
        finally:
            made.stop()
