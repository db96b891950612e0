"""The ACL lines of docs/security.md: bridge and web need no more, and can do nothing else."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
import redis.asyncio as redis
from redis.exceptions import NoPermissionError, RedisError

from rowcast.embedded import Server
from tests.checkout import block
from tests.db.databases import Databases
from tests.event_source import open_stream
from tests.fanout.listening import ask
from tests.own_cluster import own_cluster
from tests.own_sentinels import Watched, watched
from tests.parts import ROOT
from tests.rig import ready, rig
from tests.servers import embedded_valkey
from tests.waiting import until

PAGE = ROOT / "docs/security.md"
SERVERS = "on every server: for its replicas (masteruser, masterauth), and for the Sentinels (sentinel auth-user, sentinel auth-pass)"
SENTINELS = "on every Sentinel: for bridge and web, and for the other Sentinels (sentinel sentinel-user, sentinel sentinel-pass)"


def lines() -> dict[str, list[str]]:
    """The words of each ACL SETUSER on the page, by the user's name."""
    return users(r"rowcast_\w+", Path(PAGE).read_text("utf-8"))


def users(name: str, text: str) -> dict[str, list[str]]:
    found = re.findall(rf"^ +ACL SETUSER ({name}) (.+)$", text, re.MULTILINE)
    return {user: rules.split() for user, rules in found}


def login(url: str, name: str) -> str:
    """`url` for that user, whose password the lines leave open as …"""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{name}:secret@{parts.hostname}:{parts.port}"))


async def apply(url: str, given: dict[str, list[str]] | None = None) -> None:
    async with redis.Redis.from_url(url) as admin:
        for name, rules in (given or lines()).items():
            words = (">secret" if rule.startswith(">") else rule for rule in rules)
            await ask(admin, "ACL", "SETUSER", name, "reset", *words)


@pytest.fixture
async def own_valkey() -> AsyncIterator[Server]:
    with embedded_valkey() as server:
        await apply(server.url)
        yield server


def test_the_page_has_a_line_for_each_part() -> None:
    assert set(lines()) == {"rowcast_bridge", "rowcast_web"}


@pytest.mark.slow
async def test_bridge_and_web_run_with_just_these_rights(own_valkey: Server, databases: Databases) -> None:
    with databases.migrated() as url:
        async with rig(url, own_valkey.url, prefix="rowcast") as own:
            bridge = await own.bridge(redis_url=login(own_valkey.url, "rowcast_bridge"))
            web_url, web = await own.web(redis_url=login(own_valkey.url, "rowcast_web"))
            async with open_stream(f"{web_url}/events/1") as stream:
                await stream.live()
                await own.insert(1, "mine")
                await own.insert(None, "everyone's")
                await stream.receives("mine", "everyone's")
            assert "NOPERM" not in bridge.log + web.log
            async with redis.Redis.from_url(own_valkey.url) as admin:
                assert await ask(admin, "ACL", "LOG") == []


TRIED = [
    "SPUBLISH {channel} x",
    "SSUBSCRIBE {channel}",
    "SSUBSCRIBE other:{{0.1}}:mark",
    "SPUBLISH other x",
    "PUBLISH {channel} x",
    "PSUBSCRIBE *",
    "SUBSCRIBE {channel}",
    "GET x",
    "SET x y",
    "DEL x",
    "KEYS *",
    "SCAN 0",
    "FLUSHALL",
    "FLUSHDB",
    "CONFIG GET *",
    "CONFIG SET maxmemory 1",
    "ACL LIST",
    "ACL SETUSER x on",
    "CLIENT LIST",
    "CLIENT KILL TYPE normal",
    "SHUTDOWN NOSAVE",
    "REPLICAOF NO ONE",
    "SCRIPT FLUSH",
    "FUNCTION LIST",
    "MONITOR",
    "PUBSUB SHARDCHANNELS",
    "CLUSTER RESET",
    "CLUSTER FAILOVER",
    "INFO",
    "MODULE LIST",
    "SAVE",
    "SWAPDB 0 1",
]
CHANNELS = [f"rowcast:{{0.1}}:{name}" for name in ("mark", "all", "user:1", "revocations")]
ALLOWED = {
    "rowcast_bridge": {f"SPUBLISH {channel} x" for channel in CHANNELS[:3]},
    "rowcast_web": {f"SSUBSCRIBE {channel}" for channel in CHANNELS} | {"SPUBLISH rowcast:{0.1}:revocations x"},
}


@pytest.mark.parametrize("name", ALLOWED)
async def test_everything_else_is_refused(own_valkey: Server, name: str) -> None:
    """The web can't publish a row or a mark, the bridge can't listen, and neither reads or changes anything."""
    passed = set()
    for form in TRIED:
        for command in {form.format(channel=channel) for channel in CHANNELS}:
            async with redis.Redis.from_url(
                login(own_valkey.url, name), single_connection_client=True, protocol=2
            ) as client:
                try:
                    await client.connection.send_command(*command.split())  # type: ignore[union-attr]
                    await client.connection.read_response()  # type: ignore[union-attr]
                except NoPermissionError:
                    continue
                except RedisError as error:
                    pytest.fail(f"{command}: {error!r}")
                passed.add(command)
    assert passed == ALLOWED[name]


@pytest.mark.slow
async def test_bridge_and_web_run_with_just_these_rights_in_a_cluster(databases: Databases) -> None:
    with own_cluster(primaries=3) as cluster, databases.migrated() as url:
        for node in cluster.primaries:
            await apply(node.url)
        async with rig(url, cluster.url, prefix="rowcast") as own:
            bridge = await own.bridge(redis_url=login(cluster.url, "rowcast_bridge"))
            web_url, web = await own.web(redis_url=login(cluster.url, "rowcast_web"))
            async with open_stream(f"{web_url}/events/1") as stream:
                await stream.live()
                await own.insert(1, "mine")
                await stream.receives("mine")
            assert "NOPERM" not in bridge.log + web.log


async def shut_in(redis: Watched) -> None:
    """Everybody at the servers and at the Sentinels has the rights of the page: bridge, web, replicas, Sentinels."""
    for node in redis.nodes:
        await apply(node.url, lines() | users(r"\w+", block("security.md", SERVERS)))
        await node.ask("CONFIG", "SET", "masteruser", "replica", "masterauth", "secret")
    for sentinel in redis.sentinels:
        await apply(sentinel.admin, users(r"\w+", block("security.md", SENTINELS)))
    for sentinel in redis.sentinels:
        await sentinel.ask("SENTINEL", "SET", redis.name, "auth-user", "sentinel", "auth-pass", "secret")
        await sentinel.ask("SENTINEL", "CONFIG", "SET", "sentinel-user", "sentinel", "sentinel-pass", "secret")
    await redis.primary.ask("CLIENT", "KILL", "TYPE", "replica")
    await until(lambda: nobody_else(redis))


async def nobody_else(redis: Watched) -> bool:
    """Do replica and Sentinels have users of their own everywhere, and only we that of old?"""
    primary, *others = [await place.ask("CLIENT", "LIST") for place in redis.everybody]
    alone = all(said.count(b"user=default ") == 1 and b"user=sentinel " in said for said in (primary, *others))
    return alone and b"user=replica " in primary


@pytest.mark.slow
async def test_bridge_and_web_run_with_just_these_rights_under_sentinels(databases: Databases) -> None:
    """As do the Sentinels: they vote, and another server becomes the primary."""
    async with watched() as watching:
        await shut_in(watching)
        bridge_url, web_url = (
            watching.url_for(name, "secret", "rowcast", "secret") for name in ("rowcast_bridge", "rowcast_web")
        )
        with databases.migrated() as url:
            async with rig(url, bridge_url, prefix="rowcast", retry="0.1") as own:
                bridge = await own.bridge()
                served, web = await own.web(redis_url=web_url)
                async with open_stream(f"{served}/events/1") as stream:
                    await stream.live()
                    await own.insert(1, "mine")
                    await stream.receives("mine")
                    old = watching.primary
                    old.kill()
                    await watching.fails_over(old)
                    await own.insert(1, "mine too")
                    await stream.receives("mine", "mine too")
                    await ready(served, web)
                assert "NOPERM" not in bridge.log + web.log
        for place in watching.everybody:
            assert place is old or await place.ask("ACL", "LOG") == []
        for words in ("SENTINEL FAILOVER mymaster", "SENTINEL SET mymaster quorum 9", "PUBLISH x y", "ACL LIST"):
            async with redis.Redis.from_url(login(watching.sentinels[0].admin, "rowcast")) as client:
                with pytest.raises(NoPermissionError):
                    await ask(client, *words.split())
