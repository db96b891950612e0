"""One raw connection to Redis that tells the truth: it never retries, never reconnects, never resubscribes by itself.

redis-py's clients hide a lost connection (and lose or double messages meanwhile); its Connection underneath does not, once asked
not to. It would still reconnect inside a send, so `send` looks first.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

from redis.asyncio.connection import AbstractConnection, Connection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from core.errors import ConfigurationError, RedisUnavailableError, RedisUnfitError

CONNECT_TIMEOUT = 3.0
SEND_TIMEOUT = 3.0


@dataclass(frozen=True, slots=True)
class RedisConfig:
    """Where Redis (≥ 7) or Valkey is: redis://, rediss:// or unix:// URL."""

    url: str


class RedisConnection:
    """Commands out, replies in, in order. Every method raises RedisUnavailableError once anything went wrong."""

    def __init__(self, raw: AbstractConnection) -> None:
        self._raw = raw

    async def send(self, commands: Sequence[tuple[bytes, ...]]) -> None:
        """Write the commands as one piece; their replies are to be fetched with `receive`, one each."""
        if not self._raw.is_connected:
            raise RedisUnavailableError("The connection to Redis is gone.")
        with _redis_errors("writing"):
            async with asyncio.timeout(SEND_TIMEOUT):
                await self._raw.send_packed_command(self._raw.pack_commands(commands), check_health=False)

    async def receive(self, timeout: float | None = None) -> Any:
        """The next reply or pushed message; waits for ever without a `timeout` in seconds. An error reply is raised."""
        with _redis_errors("reading"):
            async with asyncio.timeout(timeout):
                return await self._raw.read_response(timeout=math.inf)

    async def receive_many(self, count: int, timeout: float) -> list[Any]:
        """The next `count` replies, all within `timeout` seconds; the first error reply among them is raised."""
        with _redis_errors("reading"):
            async with asyncio.timeout(timeout):
                return [await self._raw.read_response(timeout=math.inf) for _ in range(count)]

    async def role(self, timeout: float) -> str | None:
        """ "master" or "replica", as the server calls itself; None if it does not say: an ACL or a proxy may be in the way."""
        await self.send([(b"HELLO",)])
        try:
            told = await self.receive(timeout)
        except RedisUnavailableError as error:
            if isinstance(error.__cause__, ResponseError):
                return None
            raise
        role = dict(zip(told[::2], told[1::2], strict=True)).get(b"role")
        return None if role is None else role.decode()


@asynccontextmanager
async def open_connection(config: RedisConfig, *, name: str) -> AsyncIterator[RedisConnection]:
    """Connect, hand over, close. Raises RedisUnavailableError, or ConfigurationError for a URL that is none."""
    raw = _raw_connection(config, name)
    connect: Callable[[], Awaitable[None]] = raw.connect
    try:
        with _redis_errors("connecting"):
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await connect()
        yield RedisConnection(raw)
    finally:
        await raw.disconnect(nowait=True)


async def check_redis(config: RedisConfig) -> None:
    """Raise RedisUnfitError if the server has no sharded pub/sub, RedisUnavailableError if it does not answer."""
    async with open_connection(config, name="rowcast-check") as connection:
        await connection.send([(b"COMMAND", b"INFO", b"SPUBLISH")])
        if not (reply := await connection.receive(CONNECT_TIMEOUT)) or not reply[0]:
            raise RedisUnfitError


def _raw_connection(config: RedisConfig, name: str) -> AbstractConnection:
    try:
        options: dict[str, Any] = {**parse_url(config.url)}
    except (ValueError, TypeError) as error:
        raise ConfigurationError(
            f"ROWCAST_REDIS_URL is not a Redis URL ({error}); write redis://host:6379/0."
        ) from error
    kind = options.pop("connection_class", Connection)
    options |= {
        "socket_timeout": None,
        "socket_connect_timeout": CONNECT_TIMEOUT,
        "retry": Retry(NoBackoff(), 0),
        "health_check_interval": 0,
        "protocol": 2,
        "client_name": name,
    }
    raw: AbstractConnection = kind(**options)
    return raw


@contextmanager
def _redis_errors(doing: str) -> Iterator[None]:
    try:
        yield
    except (RedisError, OSError, TimeoutError) as error:
        reason = str(error).strip() or (
            "no answer in time" if isinstance(error, TimeoutError) else type(error).__name__
        )
        raise RedisUnavailableError(f"Redis failed while {doing}: {reason}") from error
