"""Sentinels: who they say the primary is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from core.errors import RedisUnavailableError
from fanout.connection import RedisConfig, open_connection
from fanout.redis_url import Address, Target
from fanout.slots import Slots, served_by

SENTINEL_TIMEOUT = 1.0


async def ask_sentinel(sentinel: RedisConfig, primary: str) -> Slots:
    """What this Sentinel says of who serves everything, and as of which failover; raises RedisUnavailableError."""
    async with open_connection(sentinel, name="rowcast-look", timeout=SENTINEL_TIMEOUT) as connection:
        name = primary.encode()
        await connection.send([(b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", name), (b"SENTINEL", b"MASTER", name)])
        address = await connection.receive(SENTINEL_TIMEOUT)
        if not address:
            raise RedisUnavailableError(f"The Sentinel at {sentinel} knows no primary named {primary!r}.")
        facts = await connection.receive(SENTINEL_TIMEOUT)
    return served_by(Address(address[0].decode(), int(address[1])), _epoch(facts))


async def ask_sentinels(config: RedisConfig, target: Target, turn: int) -> Address:
    """Where the primary is, by the first Sentinel that answers; `turn` chooses who is asked first."""
    reasons = []
    for sentinel in sentinels(config, target, turn):
        try:
            found = await ask_sentinel(sentinel, target.primary or "")
        except RedisUnavailableError as error:
            reasons.append(str(error))
            continue
        return found.ranges[0][2]
    raise RedisUnavailableError(f"No Sentinel says where the primary is: {' '.join(reasons)}")


def sentinels(config: RedisConfig, target: Target, turn: int) -> list[RedisConfig]:
    """All of them, another one first for each turn."""
    first = turn % len(target.addresses)
    order = target.addresses[first:] + target.addresses[:first]
    return [replace(config, at=address, sentinel=True) for address in order]


def _epoch(facts: Sequence[bytes]) -> int:
    return int(dict(zip(facts[::2], facts[1::2], strict=True)).get(b"config-epoch", 0))
