"""The bare ASGI endpoint: what streaming the same bytes costs on the same HTTP server with nothing behind it.

It does what any such endpoint must and no more: a queue for each stream, one write for each frame, a heartbeat, and it notices that
a client has left. `python -m rowcast.bench.rivals.bare BIND [listen]`: with `listen` it writes what a plain NOTIFY carries.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg

from db.connect import conninfo
from db.queries import query
from rowcast.serving import serve_until
from rowcast.settings import Settings, load
from rowcast.signals import stop_on_signals
from rowcast.sockets import listen, parse_bind

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Queue = asyncio.Queue[bytes]

_HELLO = b'data: {"seq":217468800000000}\nevent: hello\nid: 217468800000000\n\n'
HEADERS = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store, no-transform"),
    (b"x-accel-buffering", b"no"),
]


class Bare:
    """The endpoint. A stream of user `n` gets what is for `n` and what is for everyone."""

    def __init__(self) -> None:
        self._streams: dict[str, set[Queue]] = defaultdict(set)
        self._missed = b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await lifespan(receive, send)
        elif scope["path"].startswith("/events/"):
            await self._stream(scope, receive, send)
        else:
            if scope["path"] == "/missed":
                self._missed = await _body(receive)
            await answer(send)

    def write(self, frame: bytes, user: str | None = None) -> None:
        """To the streams of this user, or to all."""
        for name in (user,) if user is not None else list(self._streams):
            for queue in self._streams.get(name, ()):
                queue.put_nowait(frame)

    def write_all(self, frames: bytes) -> None:
        """One by one, to all."""
        for frame in frames.split(b"\n\n")[:-1]:
            self.write(frame + b"\n\n")

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        user, queue = scope["path"].removeprefix("/events/"), Queue()
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        for frame in (b"retry: 3000\n\n", self._missed, _HELLO):
            if frame:
                await send({"type": "http.response.body", "body": frame, "more_body": True})
        self._streams[user].add(queue)
        leaving = asyncio.create_task(_left(receive, queue), name="left")
        try:
            while frame := await queue.get():
                await send({"type": "http.response.body", "body": frame, "more_body": True})
        finally:
            leaving.cancel()
            self._streams[user].discard(queue)

    async def beat(self, seconds: float) -> None:
        """Signs of life."""
        while True:
            await asyncio.sleep(seconds)
            self.write(b":\n")


async def answer(send: Send) -> None:
    """200, and nothing more."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


class _Feed(asyncio.DatagramProtocol):
    """What to write, as datagrams."""

    def __init__(self, app: Bare) -> None:
        self._app = app

    def datagram_received(self, data: bytes, addr: object) -> None:  # noqa: ARG002 -- asyncio's signature
        self._app.write_all(data)


async def _left(receive: Receive, queue: Queue) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    queue.put_nowait(b"")


async def _body(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if not message.get("more_body"):
            return body


async def lifespan(receive: Receive, send: Send) -> None:
    """Say yes to whatever the server asks for at its start and its end."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def hear(app: Bare, database_url: str, listening: asyncio.Event) -> None:
    """Write what a plain NOTIFY carries to the streams of its user."""
    address = conninfo(database_url, name="rowcast bench bare")
    async with await psycopg.AsyncConnection.connect(address, autocommit=True) as connection:
        await connection.execute(query("bench_listen"))
        listening.set()
        async for notify in connection.notifies():
            row = json.loads(notify.payload)
            app.write(f"data: {notify.payload}\nid: {row['id']}\n\n".encode(), str(row["user_id"]))


async def _serve(settings: Settings, bind: str, *, hears: bool) -> None:
    app, stopping, listening = Bare(), asyncio.Event(), asyncio.Event()
    stop_on_signals(stopping.set)
    sockets = listen(parse_bind(bind))
    feed, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: _Feed(app), local_addr=sockets[0].getsockname()
    )
    async with asyncio.TaskGroup() as tasks:
        helpers = [tasks.create_task(app.beat(settings.heartbeat), name="heartbeat")]
        if hears:
            helpers.append(tasks.create_task(hear(app, settings.database_url, listening), name="hear"))
            await listening.wait()
        await serve_until(app, sockets, stopping, server=settings.server)
        feed.close()
        for helper in helpers:
            helper.cancel()


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    asyncio.run(_serve(load()[0], sys.argv[1], hears="listen" in sys.argv[2:]))
