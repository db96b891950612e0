"""Hypercorn's HTTP/1.1 without its ways out of HTTP, and with an ear for clients that asked again and left."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import h11
from hypercorn.events import Closed, Event, Updated
from hypercorn.protocol.events import Body, EndBody, Request
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol
from hypercorn.protocol.http_stream import HTTPStream

from rowcast.door import Bounds
from rowcast.unreadable_requests import problem


class Http1(H11Protocol):
    """One connection. It never becomes HTTP/2 (`Upgrade: h2c` would lead past a proxy's rules) nor a WebSocket: Upgrade is passed over."""

    paused = False  # a further request waits for the end of this one
    gone = False

    def __init__(self, *arguments: Any, bounds: Bounds) -> None:
        super().__init__(*arguments)
        self._bounds = bounds

    async def handle(self, event: Event) -> None:
        self.gone = self.gone or isinstance(event, Closed)
        await super().handle(event)
        if self.gone:
            await self.can_read.set()

    async def _handle_events(self) -> None:
        while not self.gone:
            if self.connection.they_are_waiting_for_100_continue:
                headers = self.config.response_headers("h11")
                await self._send_h11_event(h11.InformationalResponse(status_code=HTTPStatus.CONTINUE, headers=headers))
            try:
                event = self.connection.next_event()
            except h11.RemoteProtocolError as error:
                if self.connection.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
                    await self._send_error_response(error.error_status_hint)
                await self.send(Closed())
                return
            if event is h11.PAUSED:
                await self._wait_for_turn()
            elif isinstance(event, h11.Request):
                await self._begin(event)
            elif isinstance(event, h11.Data):
                if self.stream:
                    await self.stream.handle(Body(stream_id=STREAM_ID, data=event.data))
            elif isinstance(event, h11.EndOfMessage):
                if self.stream:
                    await self.stream.handle(EndBody(stream_id=STREAM_ID))
                elif self.connection.our_state is h11.DONE:
                    self.connection.start_next_cycle()
            else:
                return

    async def _maybe_recycle(self) -> None:
        """After an answer: go on reading what is left of the request, as an end now would cost the client the answer too."""
        unread = self.connection.our_state is h11.DONE and self.connection.their_state is h11.SEND_BODY
        if unread and not self.context.terminated.is_set():
            await self._close_stream()
            await self.send(Updated(idle=True))
        else:
            await super()._maybe_recycle()

    async def _wait_for_turn(self) -> None:
        self.paused = True
        await self.can_read.clear()
        await self.can_read.wait()
        self.paused = False

    async def _send_error_response(self, status_code: int) -> None:
        if status_code == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE:
            self._bounds.count("header_bytes")
        headers, body = problem(status_code)
        await self._send_h11_event(
            h11.Response(status_code=status_code, headers=headers + self.config.response_headers("h11"))
        )
        await self._send_h11_event(h11.Data(data=body))
        await self._send_h11_event(h11.EndOfMessage())

    async def _begin(self, request: h11.Request) -> None:
        if request.method == b"PRI":  # how HTTP/2 begins
            await self._send_error_response(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
            await self.send(Closed())
            return
        await self.send(Updated(idle=False))
        self.stream = HTTPStream(
            self.app,
            self.config,
            self.context,
            self.task_group,
            self.ssl,
            self.client,
            self.server,
            self.stream_send,
            STREAM_ID,
        )
        await self.stream.handle(
            Request(
                stream_id=STREAM_ID,
                headers=list(request.headers),
                http_version=request.http_version.decode(),
                method=request.method.decode("ascii").upper(),
                raw_path=request.target,
                state=self.connection_state,
            )
        )
        self.keep_alive_requests += 1
