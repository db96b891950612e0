"""What auth jwt needs beside the hub: the keys that tokens are checked with, and the list of those that were revoked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from core.clock import Clock
from core.user_ids import UserIdType
from db.connect import DatabaseConfig, open_pool
from db.revocations import RevocationList
from fanout.buckets import Buckets
from fanout.connection import RedisConfig
from fanout.wakeup import send_wakeup
from rowcast.settings import Settings
from rowcast.wiring.auth import auth_config
from web.auth.caller import Verifier
from web.auth.revocations import RevocableVerifier, Revocations
from web.auth.revoked import Revoked
from web.hub import Hub


@asynccontextmanager
async def checked_tokens(
    settings: Settings, ids: UserIdType, buckets: Buckets, clock: Clock, *, hub: Hub, revoked: Revoked
) -> AsyncIterator[tuple[Verifier | None, Revocations | None]]:
    """What tells whose token it is and what takes tokens back, both running until the end of the block; None with auth off.

    `revoked` is what `hub` asks.
    """
    if settings.auth != "jwt":
        yield None, None
        return
    from web.auth.tokens import make_verifier  # noqa: PLC0415 -- what auth off has no use for

    verifier = make_verifier(auth_config(settings), ids, clock)
    ring = partial(send_wakeup, RedisConfig(settings.redis_url), buckets.revocations)
    # Sessions of their own: what many streams read at once must not keep a stolen token alive.
    database = DatabaseConfig(settings.database_url, pool_size=1)
    async with (
        open_pool(database, name="rowcast-revocations") as pool,
        open_pool(database, name="rowcast-revoke", seldom=True) as revoking,
        asyncio.TaskGroup() as tasks,
    ):
        revocations = Revocations(
            RevocationList(pool, revoking), revoked, clock, end_streams=hub.end_streams, ring=ring
        )
        hub.calls(buckets.revocations, revocations.wake)
        running = [
            tasks.create_task(verifier.run(), name="keys of tokens"),
            tasks.create_task(revocations.run(), name="revocations"),
        ]
        try:
            yield RevocableVerifier(verifier, revocations), revocations
        finally:
            for task in running:
                task.cancel()
