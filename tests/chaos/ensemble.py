"""All of Rowcast on one machine, to be broken: servers, bridges and web processes, and a wire between each pair of parts.

    writers ─────────────────────▸ Postgres ◂─ bridgeN-postgres ─ bridgeN ─ bridgeN-redis ─▸ Valkey
    clients ─ clients-webN ─▸ webN ─ webN-postgres ─▸ Postgres      webN ─ webN-redis ─▸ Valkey
                                     standby ─ standby-postgres ─▸ Postgres      replica ─ replica-redis ─▸ Valkey

Whoever operates the servers moves an address on a failover: every wire to Postgres then leads to the new primary, and every wire to Redis
to the promoted replica.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

import psycopg
from psycopg.conninfo import make_conninfo

from tests.chaos.holdings import told_inside
from tests.chaos.places import Place
from tests.chaos.postgres import Pair, Postgres, Session
from tests.chaos.records import now
from tests.chaos.valkey import Valkey, ValkeyPair
from tests.parts import ROOT
from tests.rig import Rig, rig
from tests.servers import SAFE, folder
from tests.wire import Wire, wire

Standby: TypeAlias = Literal["none", "async", "sync"]
QUIET_WITHIN = 60.0
# So that streams that a fault left without a word show themselves soon.
SETTINGS = {"retry": "0.3", "heartbeat": "2"}


@dataclass(frozen=True, slots=True)
class Shape:
    """How many of what there are: all that a schedule is drawn from."""

    bridges: int = 2
    webs: int = 2
    standby: Standby = "none"
    replica: bool = False
    buckets: int = 1

    @property
    def places(self) -> list[str]:
        return [f"bridge{n}" for n in range(self.bridges)] + [f"web{n}" for n in range(self.webs)]

    @property
    def wires(self) -> list[str]:
        """Names of the wires between Rowcast's parts; those of standby and replica are the business of their own faults."""
        servers = [f"{place}-{server}" for place in self.places for server in ("postgres", "redis")]
        return servers + [f"clients-web{n}" for n in range(self.webs)]


@dataclass
class Ensemble:
    """What runs, by name."""

    shape: Shape
    rig: Rig
    postgres: Pair
    redis: ValkeyPair
    wires: dict[str, Wire]
    inside: Path  # where the processes write what only they know of themselves
    places: dict[str, Place] = field(default_factory=dict)

    @property
    def bridges(self) -> list[Place]:
        return [place for place in self.places.values() if not place.is_web]

    @property
    def webs(self) -> list[Place]:
        return [place for place in self.places.values() if place.is_web]

    @property
    def client_urls(self) -> list[str]:
        """Of the web processes, by way of the clients' wires."""
        return [self.wires[f"clients-{web.name}"].url for web in self.webs]

    @property
    def writer_url(self) -> str:
        """Straight to Postgres, wherever the primary is."""
        return self.rig.database_url

    @asynccontextmanager
    async def sql(self) -> AsyncIterator[Session]:
        """A superuser's session with the primary, in autocommit."""
        async with self.postgres.primary.sql() as session:
            yield session

    def lead(self) -> None:
        """Lead all wires to the present primaries."""
        for name, each in self.wires.items():
            if name.endswith("-postgres"):
                each.retarget(self.postgres.primary.url)
            elif name.endswith("-redis"):
                each.retarget(self.redis.primary.url)

    async def quiet(self, *, within: float = QUIET_WITHIN) -> float:
        """Wait until all processes run and every one says that it is ready, some bridge leading; how many seconds that took.

        Raises AssertionError with the logs if one has died or is not ready in time.
        """
        began = now()
        dead = [place for place in self.places.values() if not place.running]
        assert not dead, "\n".join(f"{place.name} is not running; its log:\n{place.log}" for place in dead)
        await asyncio.gather(*(place.ready(within=within) for place in self.places.values()))
        return now() - began

    async def leader(self) -> Place | None:
        """The bridge whose session holds the lock, as Postgres sees it; None if none does, or Postgres can't be asked."""
        try:
            ports = await self._holders()
        except psycopg.OperationalError:
            return None
        for bridge in self.bridges:
            if ports & self.wires[f"{bridge.name}-postgres"].far_ports:
                return bridge
        return None

    async def _holders(self) -> set[int]:
        """Client ports of sessions that hold an advisory lock."""
        async with self.sql() as session:
            found = await session.execute(
                "SELECT client_port FROM pg_locks JOIN pg_stat_activity USING (pid) "
                "WHERE locktype = 'advisory' AND granted AND application_name LIKE 'rowcast-%'"
            )
            return {row[0] async for row in found}


@asynccontextmanager
async def ensemble(
    *,
    bridges: int = 2,
    webs: int = 2,
    standby: Standby = "none",
    replica: bool = False,
    buckets: int = 1,
    settings: dict[str, str] | None = None,
    root: Path = ROOT,
    listed: bool = False,
    flushes: bool = False,
) -> AsyncIterator[Ensemble]:
    """All running and ready until the end of the block; `settings` go to every bridge and web process. `root`: the checkout whose code runs.

    `listed`: both places of Postgres are listed in ROWCAST_DATABASE_URL, instead of one address that moves; the second has no wire.
    `flushes`: Postgres flushes to disk what it commits, as it should where more than processes may end.
    """
    shape = Shape(bridges, webs, standby, replica, buckets)
    async with AsyncExitStack() as stack:
        postgres = await stack.enter_async_context(_postgres(standby, flushes))
        redis = await stack.enter_async_context(_redis(replica))
        wires = {"standby-postgres": postgres.stream, "replica-redis": redis.stream}
        for name in shape.wires:
            if not name.startswith("clients-"):
                target = postgres.primary.url if name.endswith("-postgres") else redis.primary.url
                wires[name] = await stack.enter_async_context(wire(target))
        own = await stack.enter_async_context(
            rig(
                postgres.url if standby != "none" else postgres.primary.url,
                redis.primary.url,
                prefix="chaos",
                **SETTINGS | {"buckets": str(buckets)} | (settings or {}),
            )
        )
        own.root = root
        inside = stack.enter_context(folder())
        own.environment = told_inside(inside)
        made = Ensemble(shape, own, postgres, redis, wires, inside)
        await own.migrate()
        for name in shape.places:
            made.places[name] = _place(made, name, listed)
        for web in made.webs:
            wires[f"clients-{web.name}"] = await stack.enter_async_context(wire(web.url))
        await asyncio.gather(*(place.start() for place in made.places.values()))
        await made.quiet()
        yield made


def _place(made: Ensemble, name: str, listed: bool) -> Place:
    way = made.wires[f"{name}-postgres"]
    both = make_conninfo(way.url, host="127.0.0.1,127.0.0.1", port=f"{way.port},{made.postgres.standby.port}")
    return Place(
        made.rig, name, {"database_url": both if listed else way.url, "redis_url": made.wires[f"{name}-redis"].url}
    )


@asynccontextmanager
async def _postgres(standby: Standby, flushes: bool) -> AsyncIterator[Pair]:
    with folder() as one, folder() as two:
        primary, other = (Postgres(place, dict(SAFE) if flushes else {}) for place in (one, two))
        await primary.start()
        async with wire(primary.url) as stream:
            pair = Pair(primary, other, stream, synchronous=standby == "sync")
            try:
                if standby != "none":
                    await pair.follow()
                yield pair
            finally:
                await pair.standby.stop()
                await pair.primary.stop()


@asynccontextmanager
async def _redis(replica: bool) -> AsyncIterator[ValkeyPair]:
    with folder() as one, folder() as two:
        primary, other = Valkey(one), Valkey(two)
        await primary.start()
        async with wire(primary.url) as stream:
            pair = ValkeyPair(primary, other, stream)
            try:
                if replica:
                    await pair.follow()
                yield pair
            finally:
                await pair.replica.stop()
                await pair.primary.stop()
