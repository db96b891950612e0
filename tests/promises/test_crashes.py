"""Kill, freeze and restart one part after another under load: every stream still gets every committed row, once, in order."""

from __future__ import annotations

import asyncio
import os
import signal

import httpx
import pytest
from redis.asyncio import Redis

from db.migrate import migrate
from rowcast.embedded import Server, start_postgres, start_valkey
from tests.db.databases import Databases
from tests.event_source import open_stream
from tests.parts import python313_venv
from tests.promises.health import get
from tests.promises.load import open_streams, under_load
from tests.rig import Rig, free_port, ready, rig
from tests.servers import embedded_valkey, folder

TAKEOVER = 15.0


async def test_a_killed_web_process_loses_and_doubles_nothing(own: Rig) -> None:
    await own.bridge()
    port = free_port()
    url, web = await own.web(port=port)
    async with under_load(own, url):
        for _ in range(2):
            await web.kill()
            _, web = await own.web(port=port)


@pytest.mark.slow
async def test_a_killed_bridge_is_replaced_by_the_one_that_stands_by(own: Rig) -> None:
    first = await own.bridge()
    await first.logged("leader.leading")
    second = await own.bridge()
    await second.logged("leader.following")
    url, _ = await own.web()
    async with under_load(own, url):
        await first.kill()
        await second.logged("leader.leading", timeout=TAKEOVER)
        third = await own.bridge()
        await third.logged("leader.following")
        second.send(signal.SIGTERM)
        assert await second.ended(timeout=5) == 0
        await third.logged("leader.leading", timeout=TAKEOVER)


@pytest.mark.slow
async def test_a_frozen_leader_is_replaced_within_15_s_and_does_no_harm_when_it_returns(own: Rig) -> None:
    frozen = await own.bridge()
    await frozen.logged("leader.leading")
    standby = await own.bridge()
    await standby.logged("leader.following")
    url, _ = await own.web()
    async with under_load(own, url) as load:
        frozen.send(signal.SIGSTOP)
        await standby.logged("leader.leading", timeout=TAKEOVER)
        await load.flows()
        frozen.send(signal.SIGCONT)
        await frozen.logged("connection.lost")
        await frozen.logged("leader.following")


@pytest.mark.slow
async def test_two_web_processes_serve_the_same_user_and_one_may_stop(own: Rig) -> None:
    await own.bridge()
    one, stopping = await own.web()
    two, _ = await own.web()
    async with under_load(own, two), open_stream(f"{one}/events/1", reconnect=False) as ended:
        await ended.live()
        stopping.send(signal.SIGTERM)
        await ended.until(lambda: ended.ends == 1)
        assert await stopping.ended(timeout=5) == 0
        async with open_stream(f"{two}/events/1", last_event_id=ended.last_event_id) as resumed:
            await resumed.live()
            both = ended.messages + resumed.messages
            assert len(both) == len(set(both))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_a_redis_that_restarts_empty_loses_nothing(databases: Databases, number: signal.Signals) -> None:
    with folder() as state, databases.migrated() as address:
        valkey = start_valkey(state)
        try:
            async with rig(address, valkey.url, prefix="own", retry="0.1") as own:
                bridge = await own.bridge()
                url, web = await own.web()
                async with under_load(own, url) as load:
                    await _end(valkey, number)
                    # Without Redis the streams live on re-reads of Postgres.
                    await load.flows()
                    assert (await get(url, "/readyz")).status_code == 503
                    valkey = await asyncio.to_thread(start_valkey, state, port=valkey.port)
                    await ready(url, web)
                assert bridge.log.count("connection.lost") < 10
                assert web.log.count("connection.lost") < 10
        finally:
            valkey.stop()


@pytest.mark.slow
async def test_a_cut_subscription_misses_nothing(own: Rig) -> None:
    """redis-py would hide it; CLIENT KILL, again and again."""
    await own.bridge()
    url, web = await own.web()
    async with under_load(own, url):
        for _ in range(10):
            await _kill_clients(own.redis_url, b"rowcast-web")
            await _kill_clients(own.redis_url, b"rowcast-bridge")
            await ready(url, web)


async def _kill_clients(redis_url: str, name: bytes) -> None:
    async with Redis.from_url(redis_url) as redis:
        for client in await redis.client_list():
            if client["name"].encode() == name:
                await redis.client_kill_filter(_id=client["id"])


@pytest.mark.slow
async def test_buckets_keep_every_streams_order_rows_for_everyone_included(own: Rig) -> None:
    """Each bucket has its own marks and its own copy of a row for everyone; users 1 to 3 are in three of eight."""
    migrate(own.database_url, buckets=8, say=lambda _: None)
    await own.bridge()
    one, _ = await own.web()
    two, web = await own.web()
    async with under_load(own, one, two):
        await _kill_clients(own.redis_url, b"rowcast-web")
        await ready(two, web)


@pytest.mark.slow
async def test_ended_database_sessions_are_made_anew(own: Rig) -> None:
    """pg_terminate_backend of every session of bridge and web: LISTEN, claim, read, pool."""
    bridge = await own.bridge()
    url, web = await own.web()
    async with under_load(own, url):
        for _ in range(3):
            async with own.sql() as sql:
                await sql.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND application_name LIKE 'rowcast-%'"
                )
            await ready(url, web)
    assert bridge.process is not None
    assert bridge.process.returncode is None


@pytest.mark.slow
async def test_a_postgres_killed_under_load_loses_nothing_it_committed() -> None:
    """Crash recovery wipes the NOTIFY queue. With fsync on, as rows must survive it."""
    with folder() as state:
        server = start_postgres(state)
        with embedded_valkey() as valkey:
            try:
                with Databases(server.url).migrated() as address:
                    async with rig(address, valkey.url, prefix="own", retry="0.1") as own:
                        await own.bridge()
                        url, web = await own.web()
                        async with under_load(own, url):
                            await _end(server, signal.SIGKILL)
                            assert (await get(url, "/readyz")).status_code == httpx.codes.SERVICE_UNAVAILABLE
                            server = await asyncio.to_thread(start_postgres, state, port=server.port)
                            await ready(url, web)
            finally:
                server.stop()


async def _end(server: Server, number: signal.Signals) -> None:
    os.kill(server.pid, number)
    await asyncio.to_thread(server.stop)  # waits until it is gone


@pytest.mark.parametrize("version", ["this Python", pytest.param("3.13", marks=pytest.mark.slow)])
async def test_sigterm_ends_streams_cleanly_and_the_process_within_5_s(own: Rig, version: str) -> None:
    """Hypercorn alone hangs here from Python 3.12.1 on while a stream is open."""
    await own.bridge()
    python = python313_venv() / "bin" / "python" if version == "3.13" else None
    url, web = await own.web(python=python)
    urls = [f"{url}/events/{user}?since=now" for user in range(1, 31)]
    async with open_streams(urls, reconnect=False) as streams, httpx.AsyncClient(base_url=url) as idle:
        await idle.get("/healthz")  # a kept-alive connection must not hold it up either
        positions = [await stream.live() for stream in streams]
        web.send(signal.SIGTERM)
        assert await web.ended(timeout=5) == 0
        for stream, position in zip(streams, positions, strict=True):
            await stream.until(lambda stream=stream: stream.ends == 1)  # type: ignore[misc]
            tail = bytes(stream.raw).decode().split("\n\n")[-3:]
            assert tail[0].startswith("retry: ")
            assert tail[1] == f"id: {stream.last_event_id}"
            assert tail[2] == ""
            assert int(stream.last_event_id) >= position


@pytest.mark.slow
async def test_sigterm_ends_a_bridge_in_every_state(own: Rig) -> None:
    leader = await own.bridge()
    await leader.logged("leader.leading")
    follower = await own.bridge()
    await follower.logged("leader.following")
    lost = await own.bridge(database_url="postgresql://nobody@127.0.0.1:9/none")
    await lost.logged("connection.lost")
    for process in (follower, lost, leader):
        process.send(signal.SIGTERM)
        assert await process.ended(timeout=5) == 0, process.log
    async with own.sql() as sql:
        mark = await (await sql.execute("SELECT last_value FROM rowcast.doorbell")).fetchone()
    assert mark == (0,), "a leader that leaves sets the doorbell to busy: nobody is there to hear it"


@pytest.mark.slow
async def test_a_web_process_that_starts_before_its_postgres_lives_and_becomes_ready() -> None:
    with folder() as state, embedded_valkey() as valkey:
        server = start_postgres(state)
        try:
            with Databases(server.url).migrated() as address:
                await _end(server, signal.SIGTERM)
                async with rig(address, valkey.url, prefix="own", retry="0.1") as own:
                    await own.bridge()
                    url, web = await own.web_unready()
                    async with open_stream(f"{url}/events/1") as stream:
                        await stream.until(lambda: 200 in stream.statuses)
                        assert bytes(stream.raw).startswith(b"retry: ")
                        assert (await get(url, "/healthz")).status_code == httpx.codes.OK
                        refused = await get(url, "/readyz")
                        assert refused.status_code == httpx.codes.SERVICE_UNAVAILABLE
                        assert "postgres" in refused.json()["checks"]
                        server = await asyncio.to_thread(start_postgres, state, port=server.port)
                        await ready(url, web)
                        await own.insert(1, "at last")
                        await stream.receives("at last")
                    web.send(signal.SIGTERM)
                    assert await web.ended(timeout=5) == 0
        finally:
            server.stop()


@pytest.mark.slow
async def test_inserts_neither_fail_nor_wait_while_bridge_and_web_are_gone(own: Rig) -> None:
    bridge = await own.bridge()
    url, web = await own.web()
    async with open_stream(f"{url}/events/1") as stream:
        await stream.live()
        bridge.send(signal.SIGSTOP)
        web.send(signal.SIGSTOP)
        async with asyncio.timeout(5):
            await own.insert(1, *map(str, range(100)))
        bridge.send(signal.SIGCONT)
        web.send(signal.SIGCONT)
        await stream.receives(*map(str, range(100)), timeout=20)


@pytest.mark.slow
async def test_a_claim_that_always_fails_is_told_once_and_retried_ever_more_seldom(own: Rig) -> None:
    """A user's own UPDATE trigger runs inside the claim; and delivery goes on by itself once it is gone."""
    bridge = await own.bridge()
    await bridge.logged("leader.leading")
    url, _ = await own.web()
    async with own.sql() as sql, open_stream(f"{url}/events/1") as stream:
        await stream.live()
        await sql.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not this one'; END $$;"
            "CREATE TRIGGER refuse BEFORE UPDATE ON notifications FOR EACH ROW EXECUTE FUNCTION refuse()"
        )
        await own.insert(1, "refused at first")
        await bridge.logged("not this one")
        for _ in range(3):
            leading = bridge.log.count("leader.leading")
            async with asyncio.timeout(20):
                while bridge.log.count("leader.leading") == leading:
                    await bridge.changed()
        assert bridge.log.count("connection.lost") == 1
        await sql.execute("DROP TRIGGER refuse ON notifications")
        await stream.receives("refused at first")


@pytest.mark.slow
async def test_a_database_that_became_unfit_is_named_in_the_log(own: Rig) -> None:
    bridge = await own.bridge()
    await bridge.logged("leader.leading")
    async with own.sql() as sql:
        await sql.execute("ALTER SEQUENCE notifications_id_seq CACHE 20")
        await sql.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'rowcast-claim' "
            "AND datname = current_database()"
        )
        await bridge.logged("CACHE")
