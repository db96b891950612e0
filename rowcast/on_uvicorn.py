"""Serving with uvicorn, from the extra `uvicorn`.

On h11: its other parser, httptools, sets no bound to the length of headers, nor to the requests that one connection may send at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from typing import Any, Literal, cast

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from rowcast.door import Bounds, Door
from rowcast.serving import App, open_too_long
from rowcast.sockets import HEAD_TIMEOUT, IDLE_TIMEOUT
from rowcast.unreadable_requests import problem

PROTOCOLS = ("http/1.1",)
# Bytes of further requests that are read behind an open answer, to hear its client leave.
_AHEAD = 1 << 14


class _Server(uvicorn.Server):
    """Takes connections through a door of ours."""

    def __init__(self, config: uvicorn.Config, bounds: Bounds, sockets: Sequence[socket.socket]) -> None:
        super().__init__(config)
        self.bounds = bounds
        self.door = Door(sockets, bounds, self.protocol, PROTOCOLS)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are ours: a stop begins with the streams."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002 -- the door has them
        await self.lifespan.startup()
        self.servers = []
        self.started = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.door.close()
        await super().shutdown(sockets)

    def protocol(self) -> asyncio.BaseProtocol:
        """For the next connection."""
        return _Protocol(self.bounds, config=self.config, server_state=self.server_state, app_state=self.lifespan.state)


class _Protocol(H11Protocol):
    """Ends a connection on which no whole request came in time, too; uvicorn itself waits for ever for the first one, or for its last byte."""

    _late: asyncio.TimerHandle | None = None
    _head_of: RequestResponseCycle | Literal[False] | None = False  # the request that a head came after

    def __init__(self, bounds: Bounds, **options: Any) -> None:
        super().__init__(**options)
        self._bounds = bounds

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast(asyncio.Transport, transport))
        self._wait_for_request(IDLE_TIMEOUT)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._late:
            self._late.cancel()

    def data_received(self, data: bytes) -> None:
        last = self.cycle
        super().data_received(data)
        if self.cycle is last is not self._head_of and (last is None or last.response_complete):
            self._head_of = last
            self._wait_for_request(HEAD_TIMEOUT)
        if self.flow.read_paused and self._may_ask_ahead():
            self.flow.resume_reading()

    def on_response_complete(self) -> None:
        done = self.cycle
        super().on_response_complete()
        if self.cycle is done:  # else the next request was there already, and is being answered
            self._wait_for_request(IDLE_TIMEOUT)
        elif self._late:
            self._late.cancel()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002
        """What h11 says of it: 431 for a head that is too long, 501 for a coding it does not know."""
        error = sys.exc_info()[1]
        hint = error.error_status_hint if isinstance(error, h11.RemoteProtocolError) else HTTPStatus.BAD_REQUEST
        self._refuse(hint)

    def handle_websocket_upgrade(self, event: h11.Request) -> None:  # noqa: ARG002
        """What `_should_upgrade` led here: how HTTP/2 begins."""
        self._refuse(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)

    def _should_upgrade(self) -> bool:
        """Upgrades are passed over without a word: neither WebSockets nor HTTP/2."""
        return self.scope["method"] == "PRI"

    def _refuse(self, status: int) -> None:
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            if status == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE:
                self._bounds.count("header_bytes")
            headers, body = problem(status)
            with contextlib.suppress(h11.LocalProtocolError):  # HEAD has no body
                self.transport.write(self.conn.send(h11.Response(status_code=status, headers=headers)) or b"")
                self.transport.write(self.conn.send(h11.Data(data=body)) or b"")
        self.transport.close()

    def _may_ask_ahead(self) -> bool:
        """Whether the request is read whole, and few bytes of the next ones are: uvicorn would read no more, and not hear its client leave."""
        return self.conn.their_state is not h11.SEND_BODY and len(self.conn.trailing_data[0]) <= _AHEAD

    def _wait_for_request(self, seconds: float) -> None:
        if self._late:
            self._late.cancel()
        self._late = self.loop.call_later(seconds, self._end_unless_asked, self.cycle)

    def _end_unless_asked(self, last: RequestResponseCycle | None) -> None:
        if self.cycle is last:
            self.timeout_keep_alive_handler()


async def serve(app: App, sockets: Sequence[socket.socket], closing: asyncio.Event, bounds: Bounds) -> None:
    """See rowcast.serving.Serve."""
    server = _Server(_config(app, bounds), bounds, sockets)
    async with server.door.open(), asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(server.serve(), name="uvicorn")
        await closing.wait()
        server.should_exit = True
        if await open_too_long({serving}):
            server.door.connections.cut_all()


def _config(app: App, bounds: Bounds) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        interface="asgi3",
        http=_Protocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # whoever connects from this machine could say to be anybody
        timeout_keep_alive=int(IDLE_TIMEOUT),
        h11_max_incomplete_event_size=bounds.header_bytes,
    )
