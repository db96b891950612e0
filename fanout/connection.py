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

from redis.asyncio.connection import AbstractConnection, Connection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import MovedError, RedisError, ResponseError

from core.errors import RedisUnavailableError
from fanout.redis_url import Address, Target, read_url
from fanout.slots import Slots, read_slots

CONNECT_TIMEOUT = 3.0
SEND_TIMEOUT = 3.0
_HERE = Address("localhost", 6379)  # of a server at a unix socket, should it be a node that does not know its name


@dataclass(frozen=True, slots=True)
class RedisConfig:
    """Where Redis (≥ 7) or Valkey is (see fanout.redis_url), and which one server of it is meant, if the URL leads to several.

    `sentinel`: that server is no Redis but one of the Sentinels.
    """

    url: str
    at: Address | None = None
    sentinel: bool = False

    def __str__(self) -> str:
        return str(self.at or "Redis")


@dataclass(frozen=True, slots=True)
class Hello:
    """What a server calls itself: `role` "master" or "replica", `mode` "standalone", "cluster" or "sentinel"; None if it does not say (an
    ACL or a proxy may be in the way).
    """

    role: str | None = None
    mode: str | None = None

    @property
    def clustered(self) -> bool:
        """Is it a node of a cluster?"""
        return self.mode == "cluster"


class SlotMovedError(RedisUnavailableError):
    """Another node of the cluster serves this slot now: `address`, if it said where."""

    def __init__(self, slot: int, address: Address | None) -> None:
        super().__init__(f"Slot {slot} of the cluster is at {address or 'another node'} now.")
        self.slot = slot
        self.address = address


class RedisConnection:
    """Commands out, replies in, in order. Every method raises RedisUnavailableError once anything went wrong."""

    def __init__(self, raw: AbstractConnection, address: Address) -> None:
        self._raw = raw
        self.address = address

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
            if timeout is None:  # the way of every message that is pushed
                return await self._raw.read_response(timeout=math.inf)
            async with asyncio.timeout(timeout):
                return await self._raw.read_response(timeout=math.inf)

    async def receive_many(self, count: int, timeout: float) -> list[Any]:
        """The next `count` replies, all within `timeout` seconds; the first error reply among them is raised."""
        with _redis_errors("reading"):
            async with asyncio.timeout(timeout):
                return [await self._raw.read_response(timeout=math.inf) for _ in range(count)]

    async def hello(self, timeout: float) -> Hello:
        """What the server calls itself."""
        await self.send([(b"HELLO",)])
        try:
            told = await self.receive(timeout)
        except RedisUnavailableError as error:
            if isinstance(error.__cause__, ResponseError):
                return Hello()
            raise
        facts = dict(zip(told[::2], told[1::2], strict=True))
        return Hello(*(facts[name].decode() if name in facts else None for name in (b"role", b"mode")))

    async def slots(self, timeout: float) -> Slots:
        """What this node of a cluster says of who serves which slot."""
        await self.send([(b"CLUSTER", b"SLOTS"), (b"CLUSTER", b"INFO")])
        slots, info = await self.receive_many(2, timeout)
        return read_slots(slots, info, self.address)


@asynccontextmanager
async def open_connection(
    config: RedisConfig, *, name: str, timeout: float | None = None
) -> AsyncIterator[RedisConnection]:
    """Connect to one server, hand over, close. Raises RedisUnavailableError, or ConfigurationError for a URL that is none."""
    raw = _raw_connection(config, name)
    connect: Callable[[], Awaitable[None]] = raw.connect
    try:
        with _redis_errors("connecting"):
            async with asyncio.timeout(timeout or CONNECT_TIMEOUT):
                await connect()
        yield RedisConnection(raw, config.at or _first_address(config))
    finally:
        await raw.disconnect(nowait=True)


def _raw_connection(config: RedisConfig, name: str) -> AbstractConnection:
    target = read_url(config.url)
    options: dict[str, Any] = {**(_place(target, config) | {"client_name": name})}
    kind = options.pop("connection_class", Connection)
    options |= {
        "socket_timeout": None,
        "socket_connect_timeout": CONNECT_TIMEOUT,
        "retry": Retry(NoBackoff(), 0),
        "health_check_interval": 0,
        "protocol": 2,
    }
    raw: AbstractConnection = kind(**options)
    return raw


def _first_address(config: RedisConfig) -> Address:
    return next(iter(read_url(config.url).addresses), _HERE)


def _place(target: Target, config: RedisConfig) -> dict[str, Any]:
    """redis-py's options with the one address in them."""
    options = dict((config.sentinel and target.sentinel_options) or target.options)
    address = config.at or next(iter(target.addresses), None)
    if address is None:
        return options
    if options.get("connection_class") is UnixDomainSocketConnection:
        del options["connection_class"], options["path"]
    return options | {"host": address.host, "port": address.port}


@contextmanager
def _redis_errors(doing: str) -> Iterator[None]:
    try:
        yield
    except MovedError as error:
        raise SlotMovedError(error.slot_id, Address(error.host, error.port) if error.host else None) from error
    except (RedisError, OSError, TimeoutError) as error:
        reason = str(error).strip() or (
            "no answer in time" if isinstance(error, TimeoutError) else type(error).__name__
        )
        raise RedisUnavailableError(f"Redis failed while {doing}: {reason}") from error
