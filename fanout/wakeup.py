"""One message without a word, for whoever has subscribed its channel, over a connection that is for this alone."""

from __future__ import annotations

from dataclasses import replace

from core.errors import RedisUnavailableError
from fanout.connection import RedisConfig, SlotMovedError
from fanout.reach import open_redis

REPLY_TIMEOUT = 3.0
# How often a cluster may send us on: the first node it leads to is any of them.
_MOVES = 3


async def send_wakeup(redis: RedisConfig, channel: bytes) -> None:
    """Publish it once, on the node that serves the channel; raises RedisUnavailableError, and nobody may have been woken then."""
    place = redis
    for _ in range(_MOVES):
        try:
            async with open_redis(place, name="rowcast-wakeup") as connection:
                await connection.send([(b"SPUBLISH", channel, b"")])
                await connection.receive(REPLY_TIMEOUT)
                return
        except SlotMovedError as error:
            if error.address is None:
                raise
            place = replace(redis, at=error.address)
    raise RedisUnavailableError("The nodes of the cluster send each to another.")
