"""pg-sse, used as its documentation says, on the same HTTP server: streams that read Postgres again when a NOTIFY wakes them.

`python -m rowcast.bench.rivals.pg_sse BIND`. Its table is made at the start. A stream of user 0 is one for everyone.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any, cast

from pg_sse import Event, Hub, trigger_sql
from psycopg_pool import AsyncConnectionPool

from db.connect import conninfo
from db.queries import query
from db.scratch import looking
from rowcast.bench.rivals.bare import HEADERS, Receive, Scope, Send, answer, lifespan
from rowcast.serving import serve_until
from rowcast.settings import Settings, load
from rowcast.signals import stop_on_signals
from rowcast.sockets import listen, parse_bind

_CHANNEL = "bench_pg_sse"
# It spreads what is read again after a reconnection; without limits of streams, which are not what is measured.
_NO_LIMIT = 1_000_000
# Seconds that a read may wait for a session: in a storm all wait for the same few, and one that gave up would come a minute late.
_PATIENCE = 600.0


class PgSse:
    """Its streams as an ASGI application, with the `hello` that the load waits for."""

    def __init__(self, hub: Hub, pool: Any) -> None:
        self._hub = hub
        self._pool = pool

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await lifespan(receive, send)
        elif scope["path"].startswith("/events/"):
            await self._stream(scope, receive, send)
        else:
            await answer(send)

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        user = scope["path"].removeprefix("/events/")
        position = dict(scope["headers"]).get(b"last-event-id")
        frames = self._hub.stream(
            user,
            read=partial(self._after, user),
            cursor=int(position) if position else None,
            start=partial(self._last, user),
        )
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        async with asyncio.TaskGroup() as tasks:
            writing = tasks.create_task(_write(frames, send), name="write")
            while (await receive())["type"] != "http.disconnect":
                pass
            writing.cancel()

    async def _after(self, user: str, after: int) -> list[Event]:
        async with self._pool.connection() as session:
            rows = await (await session.execute(query("bench_pg_sse_after"), {"user": user, "after": after})).fetchall()
        return [Event(json.loads(row), id=number) for number, row in rows]

    async def _last(self, user: str) -> int:
        async with self._pool.connection() as session:
            row = await (await session.execute(query("bench_pg_sse_last"), {"user": user})).fetchone()
        return int(row[0])


async def _write(frames: AsyncIterator[str], send: Send) -> None:
    """The first frame is the stream's position: from then on it hears what is new."""
    greeted = False
    async for frame in frames:
        hello = "" if greeted else f'data: {{"seq":0}}\nevent: hello\n{frame}'
        await send({"type": "http.response.body", "body": (frame + hello).encode(), "more_body": True})
        greeted = True


def _prepare(url: str) -> None:
    with looking(url) as session:
        session.execute(query("bench_pg_sse"))
        sql = trigger_sql("bench.messages", key_column="user_id", channel=_CHANNEL, order_column="id", on=("insert",))
        cast(Callable[[str], Any], session.execute)(sql)


async def _serve(settings: Settings, bind: str) -> None:
    stopping = asyncio.Event()
    stop_on_signals(stopping.set)
    hub = Hub(settings.database_url, _CHANNEL, max_subscribers=_NO_LIMIT, handle_signals=False)
    address = conninfo(settings.database_url, name="rowcast bench pg-sse")
    pool = AsyncConnectionPool(
        address, kwargs={"autocommit": True}, min_size=1, max_size=settings.pool_size, timeout=_PATIENCE, open=False
    )
    async with pool, hub.lifespan():
        await serve_until(PgSse(hub, pool), listen(parse_bind(bind)), stopping, server=settings.server)


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)
    _settings = load()[0]
    _prepare(_settings.database_url)
    asyncio.run(_serve(_settings, sys.argv[1]))
