"""A Valkey for each test of fanout/, to be killed, frozen and restarted, and a wire to it that can be cut."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import redis.asyncio as redis

from fanout.connection import RedisConfig, RedisConnection, open_connection
from tests.fanout.own_valkey import OwnValkey
from tests.servers import folder
from tests.wire import Wire, wire


@pytest.fixture
def own_valkey() -> Iterator[OwnValkey]:
    with folder() as state:
        server = OwnValkey(state)
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture
async def admin(own_valkey: OwnValkey) -> AsyncIterator[redis.Redis]:
    """Anybody's client, with redis-py's usual ways."""
    client = redis.Redis.from_url(own_valkey.url)
    yield client
    await client.aclose()


@pytest.fixture
async def link(own_valkey: OwnValkey) -> AsyncIterator[Wire]:
    async with wire(own_valkey.url) as made:
        yield made


@pytest.fixture
async def raw(own_valkey: OwnValkey) -> AsyncIterator[RedisConnection]:
    """A plain connection."""
    async with open_connection(RedisConfig(own_valkey.url), name="test") as connection:
        yield connection
