"""Hypercorn's HTTP/2, for clients that mean harm: bounded work for frames that carry nothing, bounded waiting for windows that never open."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import h2.events
from h2.errors import ErrorCodes
from h2.exceptions import DenialOfServiceError, ProtocolError
from h2.settings import SettingCodes, Settings
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.events import Body, EndBody, Request, StreamClosed
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h2 import BUFFER_LOW_WATER, H2Protocol, StreamBuffer
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.utils import filter_pseudo_headers

from rowcast.connections import Connections
from rowcast.door import Bounds

Spawn = Callable[[Coroutine[Any, Any, None]], object]

# What a connection may spend on frames that ask for nothing, at once and a second.
CREDIT = 2000.0
REFILL = 250.0
RESET_COSTS = 5
# A window opened by less than this is no progress.
_LITTLE = 1024
STREAMS = 100


class _Buffer(StreamBuffer):
    """What one stream was given and its client has not made room for. (Hypercorn's lets go of who waits each time it is asked for nothing.)"""

    popped = 0

    @property
    def ended(self) -> bool:
        """Nothing more will be put in."""
        return self._complete

    async def pop(self, max_length: int) -> bytes:
        length = min(len(self.buffer), max_length)
        data = bytes(self.buffer[:length])
        del self.buffer[:length]
        self.popped += length
        if len(self.buffer) < BUFFER_LOW_WATER:
            await self._paused.set()
        if not self.buffer:
            await self._is_empty.set()
        return data


class _StreamReader:
    """One stream's client, for rowcast.connections."""

    slowest = 16  # of many, which share what their connection takes

    def __init__(self, protocol: Http2, stream_id: int, buffer: _Buffer) -> None:
        self._protocol = protocol
        self._stream_id = stream_id
        self._buffer = buffer

    def waiting(self) -> int:
        return len(self._buffer.buffer)

    def taken(self) -> int:
        return self._buffer.popped

    def lost(self) -> bool:
        return False

    def cut(self) -> None:
        self._protocol.spawn(self._protocol.give_up(self._stream_id))


class Http2(H2Protocol):
    """One connection."""

    def __init__(self, *arguments: Any, bounds: Bounds, connections: Connections, spawn: Spawn) -> None:
        super().__init__(*arguments)
        self.spawn = spawn
        self._bounds = bounds
        self._connections = connections
        self._readers: dict[int, _StreamReader] = {}
        self._credit = CREDIT
        self._counted = bounds.clock.now()
        # Of CONNECT, which Hypercorn's own settings offer, nothing is said.
        self.connection.local_settings = Settings(
            client=False, initial_values={SettingCodes.MAX_CONCURRENT_STREAMS: STREAMS}
        )

    async def handle(self, event: Event) -> None:
        if isinstance(event, RawData):
            if not self.closed:
                await self._read(event.data)
            return
        await super().handle(event)
        if isinstance(event, Closed):
            for buffer in list(self.stream_buffers.values()):
                await buffer.close()  # whoever waits for room there would do so for ever

    async def _read(self, data: bytes) -> None:
        try:
            events = self.connection.receive_data(data)
        except ProtocolError as error:
            if isinstance(error, DenialOfServiceError):  # h2's name for headers without end
                self._bounds.count("header_bytes")
            await self._flush()
            await self.send(Closed())
        else:
            await self._handle_events(events)

    async def stream_send(self, event: StreamEvent) -> None:
        if isinstance(event, StreamClosed) and self._unfinished(event.stream_id):
            with suppress(ProtocolError):  # it has ended meanwhile
                self.connection.reset_stream(event.stream_id, ErrorCodes.INTERNAL_ERROR)
            await self._flush()
        await super().stream_send(event)

    def _unfinished(self, stream_id: int) -> bool:
        """Has the app ended an answer that it had not given whole? The client would wait for the rest."""
        buffer = self.stream_buffers.get(stream_id)
        return isinstance(buffer, _Buffer) and not buffer.ended

    def let_go(self) -> None:
        """The connection has ended, in whatever way."""
        while self._readers:
            self._connections.forget(self._readers.popitem()[1])

    async def say_goodbye(self) -> None:
        """Tell the client that no further request will be answered here."""
        self.connection.close_connection()
        await self._flush()

    async def give_up(self, stream_id: int) -> None:
        """End a stream whose client makes no room for it."""
        with suppress(ProtocolError):  # it has ended meanwhile
            self.connection.reset_stream(stream_id, ErrorCodes.CANCEL)
        await self._close_stream(stream_id)
        await self._flush()
        await self._rest()

    async def _rest(self) -> None:
        """After a stream that was reset, of which its app says no more: the connection may be idle now."""
        if not self.streams and not self.closed:
            await self.send(Updated(idle=True))

    async def _handle_events(self, events: list[h2.events.Event]) -> None:
        for event in events:
            if self.closed:
                return
            self._credit -= _cost(event)
            if self._credit < 0 and not self._refilled():
                self._bounds.count("http2_floods")
                self.connection.close_connection(ErrorCodes.ENHANCE_YOUR_CALM)
                await self._flush()
                await self.send(Closed())
                return
            await self._handle_one(event)
        await self._flush()

    def _refilled(self) -> bool:
        now = self._bounds.clock.now()
        self._credit = min(CREDIT, self._credit + REFILL * (now - self._counted))
        self._counted = now
        return self._credit >= 0

    async def _handle_one(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.RequestReceived():
                await self._requested(event)
            case h2.events.DataReceived(stream_id=int(stream_id)):
                if stream := self.streams.get(stream_id):
                    await stream.handle(Body(stream_id=stream_id, data=event.data or b""))
                self.connection.acknowledge_received_data(event.flow_controlled_length or 0, stream_id)
            case h2.events.StreamEnded(stream_id=int(stream_id)):
                if stream := self.streams.get(stream_id):
                    await stream.handle(EndBody(stream_id=stream_id))
            case h2.events.StreamReset(stream_id=int(stream_id)):
                await self._close_stream(stream_id)
                await self._rest()
            case h2.events.WindowUpdated():
                await self._window_updated(event.stream_id)
            case h2.events.RemoteSettingsChanged():
                if SettingCodes.INITIAL_WINDOW_SIZE in event.changed_settings:
                    await self._window_updated(None)
            case h2.events.ConnectionTerminated():
                await self.send(Closed())
            # Priorities (RFC 9113, 5.3: deprecated) are passed over: a tree of them is for the client to build.

    async def _requested(self, request: h2.events.RequestReceived) -> None:
        pseudo = {name: value for name, value in request.headers or [] if name[:1] == b":"}
        method, path = pseudo.get(b":method", b""), pseudo.get(b":path", b"")
        stream_id = request.stream_id or 0
        if self.context.terminated.is_set():
            self.connection.reset_stream(stream_id, ErrorCodes.REFUSED_STREAM)
        elif method == b"CONNECT":
            self.connection.send_headers(stream_id, [(b":status", b"501")], end_stream=True)
        elif not (method.isascii() and path.isascii() and path):
            self.connection.reset_stream(stream_id, ErrorCodes.PROTOCOL_ERROR)
        else:
            await self._begin(request, stream_id, method, path)

    async def _begin(self, request: h2.events.RequestReceived, stream_id: int, method: bytes, path: bytes) -> None:
        stream = self.streams[stream_id] = HTTPStream(
            self.app,
            self.config,
            self.context,
            self.task_group,
            self.ssl,
            self.client,
            self.server,
            self.stream_send,
            stream_id,
        )
        buffer = self.stream_buffers[stream_id] = _Buffer(self.context.event_class)
        reader = self._readers[stream_id] = _StreamReader(self, stream_id, buffer)
        self._connections.watch(reader)
        self.priority.insert_stream(stream_id)
        self.priority.block(stream_id)
        await self.send(Updated(idle=False))
        await stream.handle(
            Request(
                stream_id=stream_id,
                headers=filter_pseudo_headers(request.headers or []),
                http_version="2",
                method=method.decode("ascii").upper(),
                raw_path=path,
                state=self.connection_state,
            )
        )

    async def _close_stream(self, stream_id: int) -> None:
        if reader := self._readers.pop(stream_id, None):
            self._connections.forget(reader)
        await super()._close_stream(stream_id)
        await self._window_updated(stream_id)  # whoever sends it finds that it has ended


def _cost(event: h2.events.Event) -> int:
    """Of frames that make work and ask for nothing: the rapid reset of CVE-2023-44487 and the floods of CVE-2019-9512 to 9518."""
    match event:
        case h2.events.StreamReset():
            return RESET_COSTS
        case h2.events.WindowUpdated():
            return int((event.delta or 0) < _LITTLE)
        case h2.events.DataReceived():
            return int(not event.data)
        case h2.events.RequestReceived() | h2.events.StreamEnded():
            return 0
        case _:
            return 1
