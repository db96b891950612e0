"""/readyz tells the truth under every fault: 503 within seconds, 200 again within 10 s of its end. /healthz says 200 all the time."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from signal import SIGCONT, SIGSTOP, SIGTERM
from typing import Any

import httpx
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from redis.asyncio import Redis

from rowcast.embedded import Server
from tests.db.databases import Databases
from tests.event_source import EventSource, open_stream
from tests.fanout.listening import ask
from tests.promises.own_postgres import backend, frozen
from tests.rig import Process, Rig, free_port, rig
from tests.web.auth.minting import SECRET
from tests.wire import Wire, wire

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

TURNS = 6.0  # seconds in which a fault must show
HEALS = 10.0
ANSWERS = 2.5  # seconds: each of its checks has a limit of its own, whatever hangs
CLIENT = httpx.Timeout(30)


@dataclass
class Witness:
    """Asks one process how it is, all the time."""

    url: str
    process: Process
    http: httpx.AsyncClient

    async def says(self, *, ready: bool, part: str = "", within: float) -> float:
        """Wait until /readyz says so, of that part if one is named; the seconds it took."""
        began = time.monotonic()
        answer: dict[str, Any] = {}
        try:
            async with asyncio.timeout(within):
                while True:
                    status, answer = await self._asked()
                    wrong = [name for name, state in answer["checks"].items() if state != "ok"]
                    if status == (200 if ready else 503) and (not part or part in wrong):
                        return time.monotonic() - began
        except TimeoutError:
            raise AssertionError(f"{within:g} s after, /readyz says {answer}; log:\n{self.process.log}") from None

    async def _asked(self) -> tuple[int, dict[str, Any]]:
        began = time.monotonic()
        answer = await self.http.get("/readyz")
        took = time.monotonic() - began
        assert took < ANSWERS, f"/readyz took {took:.1f} s to say {answer.text}"
        assert (await self.http.get("/healthz")).status_code == httpx.codes.OK
        return answer.status_code, answer.json()


@asynccontextmanager
async def witness(url: str, process: Process) -> AsyncIterator[Witness]:
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=CLIENT) as http:
        yield Witness(url, process, http)


@dataclass
class Stand:
    """A bridge and a web process, each with ways of its own to both servers, and a stream of user 1."""

    own: Rig
    bridge: Witness
    web: Witness
    bridge_postgres: Wire
    bridge_redis: Wire
    web_postgres: Wire
    web_redis: Wire
    stream: EventSource
    rows: int = 0

    async def shows(
        self,
        who: Witness,
        part: str,
        begin: Callable[[], object],
        end: Callable[[], object],
    ) -> None:
        """The fault shows in that part while it lasts and not after; a row inserted meanwhile comes."""
        begin()
        await who.says(ready=False, part=part, within=TURNS)
        self.rows += 1
        async with asyncio.timeout(5):
            await self.own.insert(1, str(self.rows))
        end()
        await who.says(ready=True, within=HEALS)
        await self.web.says(ready=True, within=HEALS)
        await self.stream.receives(*map(str, range(1, self.rows + 1)))


@asynccontextmanager
async def stand(databases: Databases, redis_url: str, user: str | None = None) -> AsyncIterator[Stand]:
    """`user`: whom the web process logs in as."""
    with databases.migrated() as address:
        host, port = (conninfo_to_dict(address)[name] for name in ("host", "port"))
        postgres = f"postgresql://{host}:{port}"
        async with (
            wire(postgres) as bridge_postgres,
            wire(redis_url) as bridge_redis,
            wire(postgres) as web_postgres,
            wire(redis_url) as web_redis,
            rig(address, redis_url, prefix=f"t{free_port()}", retry="0.1") as own,
        ):
            at = f"127.0.0.1:{free_port()}"
            bridge = await own.bridge(
                "--health-bind",
                at,
                database_url=make_conninfo(address, host="127.0.0.1", port=bridge_postgres.port),
                redis_url=bridge_redis.url,
            )
            login = {"user": user, "password": "test"} if user else {}
            web_address = make_conninfo(address, host="127.0.0.1", port=web_postgres.port, **login)
            url, web = await own.web(database_url=web_address, redis_url=web_redis.url)
            async with (
                witness(f"http://{at}", bridge) as bridge_witness,
                witness(url, web) as web_witness,
                open_stream(f"{url}/events/1") as stream,
            ):
                await stream.live()
                yield Stand(
                    own,
                    bridge_witness,
                    web_witness,
                    bridge_postgres,
                    bridge_redis,
                    web_postgres,
                    web_redis,
                    stream,
                )


def broken(way: Wire) -> Callable[[], None]:
    """As a server that is gone."""

    def breaks() -> None:
        way.refuse()
        way.reset()

    return breaks


async def test_a_web_process_tells_of_each_server_that_is_gone_or_silent(databases: Databases, valkey: Server) -> None:
    async with stand(databases, valkey.url) as made:
        web, postgres, redis = made.web, made.web_postgres, made.web_redis
        await made.shows(web, "postgres", postgres.black_hole, postgres.heal)
        await made.shows(web, "postgres", broken(postgres), postgres.heal)
        await made.shows(web, "marks", redis.black_hole, redis.heal)
        await made.shows(web, "redis", broken(redis), redis.heal)
        await made.shows(web, "marks", lambda: redis.black_hole(up=False), redis.heal)


async def test_a_web_process_tells_of_a_bridge_that_is_frozen_and_of_what_it_could_not_read_again(
    databases: Databases, valkey: Server
) -> None:
    with databases.login("rowcast_web") as user:
        async with stand(databases, valkey.url, user) as made:
            bridge = made.bridge.process
            await made.shows(made.web, "marks", lambda: bridge.send(SIGSTOP), lambda: bridge.send(SIGCONT))
            async with made.own.sql() as sql:
                await sql.execute("REVOKE SELECT ON notifications FROM rowcast_web")
                async with Redis.from_url(valkey.url) as redis:
                    await ask(redis, "CLIENT", "KILL", "TYPE", "pubsub")
                await made.web.says(ready=False, part="rereads", within=TURNS)
                await made.own.insert(1, "2")
                await sql.execute("GRANT SELECT ON notifications TO rowcast_web")
                await made.web.says(ready=True, within=HEALS)
                await made.stream.receives("1", "2")


async def test_a_web_process_tells_of_a_list_of_revocations_that_it_can_t_read(own: Rig) -> None:
    """While all else of Postgres answers: it would go on letting in whoever was revoked elsewhere."""
    await own.bridge()
    url, process = await own.web("--auth", "jwt", jwt_key=SECRET)
    async with witness(url, process) as web, own.sql() as sql:
        await web.says(ready=True, within=HEALS)
        async with sql.transaction():
            await sql.execute("LOCK TABLE rowcast.revocations")
            await web.says(ready=False, part="revocations", within=TURNS)
        await web.says(ready=True, within=HEALS)


async def test_a_bridge_tells_of_each_server_that_is_gone_or_silent(databases: Databases, valkey: Server) -> None:
    async with stand(databases, valkey.url) as made:
        bridge, postgres, redis = made.bridge, made.bridge_postgres, made.bridge_redis
        await made.shows(bridge, "postgres", postgres.black_hole, postgres.heal)
        await made.shows(bridge, "postgres", broken(postgres), postgres.heal)
        await made.shows(bridge, "redis", redis.black_hole, redis.heal)
        await made.shows(bridge, "redis", broken(redis), redis.heal)


async def test_a_bridge_tells_of_each_of_its_sessions_that_hangs(databases: Databases, valkey: Server) -> None:
    """And makes a new one, but for the one that holds the lock: that one's lock is not free before Postgres ends it."""
    async with stand(databases, valkey.url) as made:
        for name, part in (("rowcast-listen", "listen"), ("rowcast-read", "read")):
            with frozen(await backend(made.own, name)):
                await made.bridge.says(ready=False, part=part, within=TURNS)
                await made.bridge.says(ready=True, within=HEALS)
        holder = await backend(made.own, "rowcast-claim")
        await made.shows(made.bridge, "postgres", lambda: os.kill(holder, SIGSTOP), lambda: os.kill(holder, SIGCONT))


async def test_a_standby_tells_that_postgres_is_silent(databases: Databases, valkey: Server) -> None:
    async with stand(databases, valkey.url) as made:
        at, way = f"127.0.0.1:{free_port()}", made.bridge_postgres
        by_wire = make_conninfo(made.own.database_url, host="127.0.0.1", port=way.port)
        process = await made.own.bridge("--health-bind", at, database_url=by_wire)
        await process.logged("leader.following")
        async with witness(f"http://{at}", process) as standby:
            await standby.says(ready=True, within=HEALS)
            await made.shows(standby, "postgres", way.black_hole, way.heal)


async def test_a_bridge_that_waits_for_its_postgres_lives_and_becomes_ready(own: Rig) -> None:
    parts = conninfo_to_dict(own.database_url)
    async with wire(f"postgresql://{parts['host']}:{parts['port']}") as way:
        way.refuse()
        at = f"127.0.0.1:{free_port()}"
        by_wire = make_conninfo(own.database_url, host="127.0.0.1", port=way.port)
        process = await own.bridge("--health-bind", at, database_url=by_wire)
        await process.logged("connection.lost")
        async with witness(f"http://{at}", process) as bridge:
            await bridge.says(ready=False, part="postgres", within=TURNS)
            way.heal()
            await bridge.says(ready=True, within=HEALS)
            process.send(SIGTERM)
            assert await process.ended(timeout=5) == 0


async def test_what_was_told_to_stop_is_not_ready_any_more(own: Rig) -> None:
    at = f"127.0.0.1:{free_port()}"
    bridge = await own.bridge("--health-bind", at, fail_points="drain.stamping_ended=pause:1")
    url, web = await own.web(fail_points="drain.streams_ended=pause:1")
    for process, where, part in ((web, url, "server"), (bridge, f"http://{at}", "bridge")):
        async with witness(where, process) as asked:
            await asked.says(ready=True, within=HEALS)
            process.send(SIGTERM)
            await asked.says(ready=False, part=part, within=1)
        assert await process.ended(timeout=5) == 0
