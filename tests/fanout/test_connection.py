"""A connection that tells the truth: what was lost is an error, once and at once (facts 0.7, 0.8, 0.9)."""

from __future__ import annotations

import asyncio

import pytest
import redis.asyncio as redis

from core.errors import ConfigurationError, RedisUnavailableError, RedisUnfitError
from fanout.connection import RedisConfig, RedisConnection, open_connection
from fanout.reach import check_redis
from tests.fanout.listening import ask
from tests.fanout.own_valkey import OwnValkey
from tests.rig import free_port
from tests.wire import Wire


async def test_commands_and_replies_in_order(raw: RedisConnection) -> None:
    await raw.send([(b"SET", b"a", b"1"), (b"INCR", b"a"), (b"GET", b"a")])
    assert await raw.receive_many(3, 5) == [b"OK", 2, b"2"]


async def test_an_error_reply_is_raised(raw: RedisConnection) -> None:
    await raw.send([(b"NONSENSE",)])
    with pytest.raises(RedisUnavailableError, match="unknown command"):
        await raw.receive(5)


async def test_a_lost_connection_is_an_error_for_ever_and_nothing_is_sent_again(
    own_valkey: OwnValkey, link: Wire, admin: redis.Redis
) -> None:
    """redis-py's clients would reconnect inside the send and write twice."""
    async with open_connection(RedisConfig(link.url), name="test") as connection:
        await connection.send([(b"INCR", b"n")])
        assert await connection.receive(5) == 1
        link.black_hole(up=False)
        await connection.send([(b"INCR", b"n")])
        await link.swallows(b":2")
        link.reset()
        with pytest.raises(RedisUnavailableError):
            await connection.receive(5)
        for _ in range(2):
            with pytest.raises(RedisUnavailableError):
                await connection.send([(b"INCR", b"n")])
        assert link.opened == 1
    assert await ask(admin, "GET", "n") == b"2"


async def test_silence_ends_with_an_error_only_where_a_timeout_was_given(own_valkey: OwnValkey) -> None:
    async with open_connection(RedisConfig(own_valkey.url), name="test") as connection:
        with pytest.raises(RedisUnavailableError, match="no answer in time"):
            await connection.receive(0.01)


async def test_cancelling_a_read_is_no_error(own_valkey: OwnValkey) -> None:
    async with open_connection(RedisConfig(own_valkey.url), name="test") as connection:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await connection.receive()


async def test_nobody_there() -> None:
    with pytest.raises(RedisUnavailableError, match="Redis failed while connecting"):
        async with open_connection(RedisConfig(f"redis://127.0.0.1:{free_port()}"), name="test"):
            pass


async def test_a_wrong_password_is_told(own_valkey: OwnValkey) -> None:
    with pytest.raises(RedisUnavailableError, match=r"(?i)password|auth"):
        async with open_connection(RedisConfig(own_valkey.url.replace("redis://:", "redis://:x")), name="test"):
            pass


@pytest.mark.parametrize("url", ["http://127.0.0.1", "127.0.0.1:6379", "redis://host:port", ""])
async def test_what_is_no_redis_url_is_a_matter_of_settings(url: str) -> None:
    with pytest.raises(ConfigurationError, match="ROWCAST_REDIS_URL"):
        async with open_connection(RedisConfig(url), name="test"):
            pass


async def test_several_addresses_are_for_a_cluster(own_valkey: OwnValkey) -> None:
    """Bridge and web might each take another of them."""
    with pytest.raises(RedisUnfitError, match="several addresses"):
        await check_redis(RedisConfig(f"{own_valkey.url.removesuffix('/0')},127.0.0.1:1"))


async def test_a_server_with_sharded_pub_sub_is_fit(own_valkey: OwnValkey) -> None:
    await check_redis(RedisConfig(own_valkey.url))
