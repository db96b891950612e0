"""What a subscription told, in order; and a subscriber of the tests' own, which shares nothing with Rowcast's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import redis.asyncio as redis

from fanout.connection import RedisConnection

Told = tuple[str, bytes, bytes]


class Recorder:
    """A fanout.subscription.Listener."""

    def __init__(self) -> None:
        self.told: list[Told | str] = []
        self._changed = asyncio.Event()

    def arrived(self, channel: bytes, payload: bytes) -> None:
        self._note(("arrived", channel, payload))

    def joined(self, bucket: int) -> None:
        self._note("joined" if bucket == 0 else f"joined {bucket}")

    def interrupted(self, bucket: int) -> None:
        self._note("interrupted" if bucket == 0 else f"interrupted {bucket}")

    @property
    def payloads(self) -> list[bytes]:
        return [item[2] for item in self.told if not isinstance(item, str)]

    async def until(self, condition: Callable[[], bool], *, timeout: float = 15) -> None:
        async with asyncio.timeout(timeout):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def tells(self, *expected: Told | str) -> None:
        """Wait until exactly this was told."""
        try:
            await self.until(lambda: len(self.told) >= len(expected))
        finally:
            assert self.told == list(expected)

    def _note(self, item: Told | str) -> None:
        self.told.append(item)
        self._changed.set()


async def ask(client: redis.Redis, *words: bytes | str | int) -> Any:
    """What the server answers to this command (redis-py's own method has no types)."""
    execute: Any = client.execute_command
    return await execute(*words)


async def subscribe(raw: RedisConnection, *channels: bytes) -> None:
    """Subscribe, and wait for every confirmation."""
    await raw.send([(b"SSUBSCRIBE", channel) for channel in channels])
    await raw.receive_many(len(channels), 5)


async def heard(raw: RedisConnection, count: int) -> list[tuple[bytes, bytes]]:
    """The next so many messages: channel and payload, in the order of arrival."""
    return [(channel, payload) for _, channel, payload in await raw.receive_many(count, 10)]
