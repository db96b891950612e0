"""Redis itself fails, and everybody's clients with it: rows 17, 18, 22, 23 and 33 of the fault matrix in docs/delivery.md."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError, ResponseError

from tests.db.databases import Databases
from tests.fanout.listening import ask
from tests.promises.health import unready
from tests.promises.load import under_load
from tests.promises.wired import Wired, wired
from tests.rig import ready
from tests.waiting import until
from tests.wire import wire

pytestmark = pytest.mark.slow


@pytest.fixture
async def broken(databases: Databases) -> AsyncIterator[Wired]:
    async with wired(databases) as made:
        yield made


async def test_a_redis_killed_again_and_again_loses_nothing_while_every_client_reconnects_too(broken: Wired) -> None:
    """Row 17; and 18, as it comes back empty."""
    async with wire(broken.url) as clients, under_load(broken.own, clients.url) as load, broken.fault(load):
        for _ in range(3):
            await ready(broken.url, broken.web)
            broken.valkey.kill()
            clients.reset()
            await unready(broken.url, broken.web)
            await load.flows()
            clients.reset()
            broken.valkey.start()
    assert all(stream.connections >= 4 for stream in load.streams)


async def test_a_full_redis_still_carries_rows(broken: Wired) -> None:
    """Row 22: at maxmemory Valkey refuses what keeps data, and Rowcast keeps none there."""
    async with under_load(broken.own, broken.url) as load, broken.fault(load):
        await broken.ask("CONFIG", "SET", "maxmemory", "1")
        with pytest.raises(OutOfMemoryError):
            await broken.ask("SET", "somebody's", "data")
        connections = broken.web_wire.opened, broken.bridge_wire.opened
        for _ in range(5):
            await load.flows()
            await ready(broken.url, broken.web)
        await broken.ask("CONFIG", "SET", "maxmemory", "0")
        assert (broken.web_wire.opened, broken.bridge_wire.opened) == connections


async def test_a_redis_that_refuses_everything_delays_rows_until_they_come_from_postgres(broken: Wired) -> None:
    """Row 22: somebody's script runs and runs; Redis answers BUSY to all others. No mark may go where a message did not."""
    await broken.ask("CONFIG", "SET", "busy-reply-threshold", "10")
    async with under_load(broken.own, broken.url) as load, broken.fault(load), asyncio.TaskGroup() as tasks:
        script = tasks.create_task(_run_for_ever(broken.valkey.url))
        assert "marks" in await unready(broken.url, broken.web)
        for _ in range(3):
            assert await load.flows() < 5
        await broken.ask("SCRIPT", "KILL")
        await script
    assert "BUSY" in broken.bridge.log or "busy" in broken.bridge.log


async def _run_for_ever(redis_url: str) -> None:
    async with Redis.from_url(redis_url, socket_timeout=60) as admin:
        with pytest.raises(ResponseError, match="killed by user"):
            await ask(admin, "EVAL", "while true do end", 0)


async def test_a_subscriber_ended_for_its_full_output_buffer_misses_nothing(broken: Wired) -> None:
    """Row 22. Some batches are more than Redis keeps for a subscriber. (Valkey counts no message above 16 kB.)"""
    await broken.ask("CONFIG", "SET", "client-output-buffer-limit", "pubsub 64kb 0 0")
    async with under_load(broken.own, broken.url) as load, broken.fault(load), broken.own.sql() as sql:
        for _ in range(5):
            await ready(broken.url, broken.web)
            ended = await _ended_for_output(broken)
            await sql.execute(
                "INSERT INTO notifications (user_id, message) "
                "SELECT 1 + n % 3, repeat('x', 8000) FROM generate_series(1, 200) AS n"
            )
            await until(lambda ended=ended: _ended_more(broken, ended))  # type: ignore[misc]


async def _ended_for_output(broken: Wired) -> int:
    stats: dict[str, int] = await broken.ask("INFO", "stats")
    return stats["client_output_buffer_limit_disconnections"]


async def _ended_more(broken: Wired, before: int) -> bool:
    return await _ended_for_output(broken) > before


async def test_a_killed_connection_of_bridge_or_web_misses_nothing(broken: Wired) -> None:
    """Row 22: CLIENT KILL, of both at once, again and again."""
    async with under_load(broken.own, broken.url) as load, broken.fault(load):
        for _ in range(20):
            await ready(broken.url, broken.web)
            seen = broken.bridge_wire.opened, broken.web_wire.opened
            await broken.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            await broken.ask("CLIENT", "KILL", "TYPE", "pubsub")
            await until(lambda seen=seen: broken.bridge_wire.opened > seen[0] and broken.web_wire.opened > seen[1])  # type: ignore[misc]


@pytest.mark.parametrize("seconds", [1, 8])
async def test_a_paused_redis_delays_and_loses_nothing(broken: Wired, seconds: int) -> None:
    """Row 23: shorter and longer than anybody waits for an answer. What Redis took before it fell silent comes late or twice."""
    async with under_load(broken.own, broken.url) as load, broken.fault(load):
        await broken.ask("CLIENT", "PAUSE", 1000 * seconds, "ALL")
        if seconds > 4:
            await unready(broken.url, broken.web)
            await load.flows()
        async with Redis.from_url(broken.valkey.url, socket_timeout=60) as admin:
            await ask(admin, "PING")


async def test_a_redis_that_cannot_write_its_file_still_carries_rows(broken: Wired) -> None:
    """Row 33: somebody keeps data in this Redis, and its disk is full. Rowcast keeps none there."""
    async with under_load(broken.own, broken.url) as load, broken.fault(load):
        broken.valkey.fill_disk()
        await broken.ask("CONFIG", "SET", "appendonly", "yes")
        await until(lambda: _refuses_writes(broken))
        for _ in range(3):
            await load.flows()
            await ready(broken.url, broken.web)


async def _refuses_writes(broken: Wired) -> bool:
    try:
        await broken.ask("SET", "somebody's", "data")
    except ResponseError as error:
        return "MISCONF" in str(error)
    return False


async def test_a_redis_that_ends_itself_over_a_full_disk_loses_nothing(broken: Wired) -> None:
    """Row 33: with `appendfsync always` it rather ends than lose what somebody wrote."""
    async with under_load(broken.own, broken.url) as load, broken.fault(load):
        broken.valkey.fill_disk()
        await broken.ask("CONFIG", "SET", "appendonly", "yes", "appendfsync", "always")
        with pytest.raises(RedisConnectionError):
            await until(lambda: _refuses_writes(broken))
        await unready(broken.url, broken.web)
        await load.flows()
        broken.valkey.stop()
        broken.valkey.start()
