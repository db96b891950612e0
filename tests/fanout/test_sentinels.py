"""From Sentinels to the server that they call the primary. What they do when it dies is tried in tests/promises/test_redis_sentinel.py."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from core.clock import SystemClock
from core.errors import RedisUnavailableError, RedisUnfitError
from fanout.buckets import Buckets
from fanout.connection import RedisConfig
from fanout.nodes import Nodes
from fanout.reach import check_redis, open_redis
from fanout.redis_url import Address
from tests.fanout.own_valkey import OwnValkey
from tests.own_sentinels import NAME, SENTINEL_PASSWORD, Sentinel
from tests.rig import free_port
from tests.servers import folder
from tests.waiting import until


@pytest.fixture
async def sentinel(own_valkey: OwnValkey) -> AsyncIterator[Sentinel]:
    with folder() as state:
        made = Sentinel(0, state / "sentinel", own_valkey.port)
        made.start()
        try:
            await until(lambda: _knows(made))
            yield made
        finally:
            made.stop()


async def _knows(sentinel: Sentinel) -> bool:
    return await sentinel.primary() != 0


def url(own_valkey: OwnValkey, sentinel: Sentinel, *, name: str = NAME, before: str = "") -> str:
    login = own_valkey.url.removeprefix("redis://").partition("@")[0]
    return f"redis+sentinel://{login}@{before}127.0.0.1:{sentinel.port}/{name}?sentinel_password={SENTINEL_PASSWORD}"


@pytest.mark.parametrize("dead", [0, 2])
async def test_the_url_leads_to_the_primary_by_any_sentinel(
    own_valkey: OwnValkey, sentinel: Sentinel, dead: int
) -> None:
    config = RedisConfig(url(own_valkey, sentinel, before="".join(f"127.0.0.1:{free_port()}," for _ in range(dead))))
    await check_redis(config)
    for _ in range(3):
        async with open_redis(config, name="test") as connection:
            assert connection.address == Address("127.0.0.1", own_valkey.port)
            assert (await connection.hello(5)).role == "master"


async def test_who_is_told_of_nobody_says_what_was_asked(own_valkey: OwnValkey, sentinel: Sentinel) -> None:
    with pytest.raises(RedisUnavailableError, match=rf"127.0.0.1:{sentinel.port} knows no primary named 'other'"):
        async with open_redis(RedisConfig(url(own_valkey, sentinel, name="other")), name="test"):
            pass


async def test_a_replica_is_not_used(own_valkey: OwnValkey, sentinel: Sentinel) -> None:
    """A Sentinel may be out of date, and the server itself knows better."""
    config = RedisConfig(url(own_valkey, sentinel))
    nodes = Nodes(config, Buckets(1, "s"), SystemClock())
    async with open_redis(config, name="test") as connection:
        assert await nodes.admit(config, connection) is None
    place = nodes.of(0)
    assert place.at == Address("127.0.0.1", own_valkey.port)
    async with open_redis(place, name="test") as connection:
        told = await nodes.admit(place, connection)
        assert told is not None
        assert told.role == "master"
        await connection.send([(b"REPLICAOF", b"127.0.0.1", b"1")])
        await connection.receive(5)
        with pytest.raises(RedisUnavailableError, match="is a replica"):
            await nodes.admit(place, connection)


async def test_a_sentinel_that_is_taken_for_redis_is_told_so(sentinel: Sentinel) -> None:
    with pytest.raises(RedisUnfitError, match=r"redis\+sentinel://"):
        await check_redis(RedisConfig(f"redis://:{SENTINEL_PASSWORD}@127.0.0.1:{sentinel.port}"))
