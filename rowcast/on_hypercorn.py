"""Serving with Hypercorn: its parsers and its ASGI, on connections that come through a door of ours."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from logging import getLogger
from typing import Any

import structlog
from hypercorn.asyncio.lifespan import Lifespan
from hypercorn.asyncio.task_group import TaskGroup
from hypercorn.asyncio.tcp_server import MAX_RECV, TCPServer
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol import ProtocolWrapper
from hypercorn.typing import AppWrapper, ConnectionState
from hypercorn.utils import wrap_app

from rowcast.connections import Connections
from rowcast.door import Bounds, Door
from rowcast.hypercorn_http1 import Http1
from rowcast.hypercorn_http2 import Http2
from rowcast.serving import App, end, open_too_long
from rowcast.sockets import HEAD_TIMEOUT, IDLE_TIMEOUT

_log = structlog.get_logger("server")
_Begin = Callable[[asyncio.StreamReader, asyncio.StreamWriter], "_Connection"]

PROTOCOLS = ("h2", "http/1.1")


async def serve(app: App, sockets: Sequence[socket.socket], closing: asyncio.Event, bounds: Bounds) -> None:
    """See rowcast.serving.Serve."""
    config = _config(bounds)
    wrapped = wrap_app(app, config.wsgi_max_body_size, "asgi")
    state: dict[str, Any] = {}
    lifespan = Lifespan(wrapped, config, asyncio.get_running_loop(), state)
    async with asyncio.TaskGroup() as tasks:
        living = tasks.create_task(lifespan.handle_lifespan(), name="lifespan")
        await lifespan.wait_for_startup()
        await _Server(wrapped, config, state, bounds).run(sockets, closing)
        await lifespan.wait_for_shutdown()
        living.cancel()


class _Server:
    """The connections of one app."""

    def __init__(self, app: AppWrapper, config: Config, state: dict[str, Any], bounds: Bounds) -> None:
        self.app = app
        self.config = config
        self.state = state
        self.bounds = bounds
        self.context = WorkerContext(None)
        self.connections: Connections
        self._loop = asyncio.get_running_loop()
        self._talking: dict[asyncio.Task[None], _Connection] = {}
        self._tasks = asyncio.TaskGroup()

    async def run(self, sockets: Sequence[socket.socket], closing: asyncio.Event) -> None:
        door = Door(sockets, self.bounds, lambda: _Reading(self._loop, self._begin), PROTOCOLS)
        self.connections = door.connections
        async with self._tasks:
            async with door.open():
                await closing.wait()
                door.close()
                await self.context.terminated.set()
                for connection in self._talking.values():
                    connection.finish()
                await open_too_long(set(self._talking))
            await end(set(self._talking))

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> _Connection:
        connection = _Connection(self, self._loop, reader, writer)
        task = self.spawn(connection.run())
        self._talking[task] = connection
        task.add_done_callback(self._talking.pop)
        return connection

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Do this for a connection, whatever becomes of that."""
        return self._tasks.create_task(self._do(work), name="client")

    async def _do(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception:  # of whatever a client could think of: it ends this connection and no other
            self.bounds.count("broken_connections")
            _log.debug("server.broken", exc_info=True)


class _Reading(asyncio.StreamReaderProtocol):
    """Bytes for a connection, and word of their end also while it does not read."""

    def __init__(self, loop: asyncio.AbstractEventLoop, begin: _Begin) -> None:
        super().__init__(asyncio.StreamReader(loop=loop), self._connected, loop)
        self._begin = begin
        self._connection: _Connection | None = None

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connection = self._begin(reader, writer)

    def eof_received(self) -> bool | None:
        self._tell()
        return super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._tell()
        self._connection = None

    def _tell(self) -> None:
        if self._connection:
            self._connection.left()


class _Connection(TCPServer):
    """One client's, bounded in the time it may take to ask."""

    def __init__(
        self,
        server: _Server,
        loop: asyncio.AbstractEventLoop,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        super().__init__(server.app, loop, server.config, server.context, server.state, reader, writer)
        self._of = server
        self._asked = False  # something, and is not answered yet
        self._turn = 0  # how often that began or ended
        self._head_of = -1  # the turn in which a head began to come
        self._talk: Http1 | Http2 | None = None
        self._late: asyncio.TimerHandle | None = None
        self._reading = False  # there is somebody to be told of an end

    async def run(self) -> None:
        try:
            async with TaskGroup(self.loop) as self._task_group:
                self._talk = self._protocol()
                self.protocol = _Same(self._talk)
                await self.protocol.initiate()
                self._wait(IDLE_TIMEOUT)
                self._reading = True
                if self.context.terminated.is_set():
                    self.finish()
                await self._read_data()
                self._reading = False
        except OSError:
            pass
        finally:
            self._reading = False
            self._wait(None)
            if isinstance(self._talk, Http2):
                self._talk.let_go()
            await self._close()

    async def protocol_send(self, event: Event) -> None:
        if isinstance(event, Updated):
            self._turn += 1
            self._asked = not event.idle
            self._wait(IDLE_TIMEOUT if event.idle else None)
            if event.idle and self.context.terminated.is_set():
                self.finish()
        else:
            try:
                await super().protocol_send(event)
            except OSError:  # the network lost the client while it was written to
                await self.protocol.handle(Closed())

    async def _read_data(self) -> None:
        while not self.reader.at_eof():
            try:
                data = await self.reader.read(MAX_RECV)
            except OSError:
                break
            turn = self._turn
            await self.protocol.handle(RawData(data))
            if not self._asked and turn == self._turn != self._head_of and isinstance(self._talk, Http1):
                self._head_of = turn
                self._wait(HEAD_TIMEOUT)
        await self.protocol.handle(Closed())

    async def _close(self) -> None:
        with suppress(OSError, RuntimeError):
            if self.writer.can_write_eof():
                self.writer.write_eof()
            self.writer.close()
            await self.writer.wait_closed()

    def left(self) -> None:
        """The client has nothing more to say, or is gone."""
        if self._reading and isinstance(self._talk, Http1) and self._talk.paused:
            self._of.spawn(self._talk.handle(Closed()))

    def finish(self) -> None:
        """End it now if nothing is being answered."""
        if self._reading and not self._asked:
            self._of.spawn(self._initiate_server_close())

    async def _initiate_server_close(self) -> None:
        if isinstance(self._talk, Http2):
            await self._talk.say_goodbye()
        await super()._initiate_server_close()

    def _protocol(self) -> Http1 | Http2:
        ssl_object: ssl.SSLObject | None = self.writer.get_extra_info("ssl_object")
        arguments = (
            self.app,
            self.config,
            self.context,
            self._task_group,
            ConnectionState(self.state),
            ssl_object is not None,
            self._address("peername"),
            self._address("sockname"),
            self.protocol_send,
        )
        if ssl_object is not None and ssl_object.selected_alpn_protocol() == "h2":
            return Http2(*arguments, bounds=self._of.bounds, connections=self._of.connections, spawn=self._of.spawn)
        return Http1(*arguments, bounds=self._of.bounds)

    def _address(self, name: str) -> tuple[str, int] | None:
        """As asyncio noted it at the beginning; None of a client that had left by then, or came through a Unix socket."""
        told = self.writer.get_extra_info(name)
        return (told[0], told[1]) if isinstance(told, tuple) else None

    def _wait(self, seconds: float | None) -> None:
        if self._late:
            self._late.cancel()
        self._late = None if seconds is None else self.loop.call_later(seconds, self.finish)


class _Same(ProtocolWrapper):
    """What a connection speaks, and always will."""

    def __init__(self, protocol: Http1 | Http2) -> None:
        self.protocol = protocol


def _config(bounds: Bounds) -> Config:
    config = Config()
    config.h11_max_incomplete_size = bounds.header_bytes
    config.include_server_header = False
    config.accesslog = None
    config.errorlog = getLogger("hypercorn.error")
    return config
