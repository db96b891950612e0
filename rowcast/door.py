"""Takes connections in, as many as may be, for whichever server talks to them.

asyncio's own way knows no cap, and when descriptors are used up it logs a traceback for each connection that waits.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from core.clock import Clock, SystemClock
from rowcast.connections import Accepted, Connections

Count = Callable[[str], None]
Factory = Callable[[], asyncio.BaseProtocol]

# Seconds that a TLS handshake, or its farewell with all that is still to be sent, may take.
HANDSHAKE_TIMEOUT = 10.0
FAREWELL_TIMEOUT = 15.0
# Bytes that may wait in a process for one connection, before whoever writes has to wait.
MOST_UNSENT = 1 << 16
# Seconds that a full process leaves new connections to others on the same socket, before it turns away those still there.
DEFER = 0.1
_AT_ONCE = 64
_USED_UP = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_RESET = struct.pack("ii", 1, 0)


def _count_nothing(what: str) -> None:
    """For who keeps no count."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a server lets happen, and how it talks.

    `connections`: how many may be open at once (0: any); `header_bytes`: the longest head of a request; `count` is told the name of each
    bound when it was reached; `tls` gives the context for the next connection, given the protocols that the server speaks.
    """

    connections: int = 0
    header_bytes: int = 16 << 10
    count: Count = _count_nothing
    tls: Callable[[Sequence[str]], ssl.SSLContext] | None = None
    clock: Clock = field(default_factory=SystemClock)


class Door:
    """Accepts on `sockets` and hands each connection to a protocol of `factory`."""

    def __init__(
        self, sockets: Sequence[socket.socket], bounds: Bounds, factory: Factory, protocols: Sequence[str]
    ) -> None:
        self.connections = Connections(bounds.clock, bounds.count)
        self._sockets = sockets
        self._bounds = bounds
        self._factory = factory
        self._protocols = protocols
        self._connecting: set[asyncio.Task[None]] = set()
        self._spare = -1
        self._later: asyncio.TimerHandle | None = None
        self._tasks: asyncio.TaskGroup
        self._loop = asyncio.get_running_loop()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Let them in until the end of the block; then those who are in are cut."""
        self._keep_spare()
        try:
            async with asyncio.TaskGroup() as self._tasks:
                watching = self._tasks.create_task(self.connections.run(), name="connections")
                for listening in self._sockets:
                    listening.setblocking(False)
                self._listen()
                try:
                    yield
                finally:
                    self.close()
                    watching.cancel()
                    for connecting in self._connecting:
                        connecting.cancel()  # a handshake would be waited for
                    self.connections.cut_all()
        finally:
            self._give_spare()

    def close(self) -> None:
        """Take nobody in any more; the sockets stay open for whoever else has them."""
        self._deafen()
        if self._later:
            self._later.cancel()
        for listening in self._sockets:
            listening.close()
        self._sockets = ()

    def _listen(self) -> None:
        self._later = None
        for listening in self._sockets:
            self._loop.add_reader(listening, self._accept, listening)

    def _deafen(self) -> None:
        for listening in self._sockets:
            self._loop.remove_reader(listening)

    def _defer(self) -> None:
        self._deafen()
        if self._later is None:
            self._later = self._loop.call_later(DEFER, self._turn_away)

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(_AT_ONCE):
            if self._full():
                return self._defer()
            try:
                made, _ = listening.accept()
            except OSError as error:  # nobody there, or somebody who left already
                if error.errno in _USED_UP:
                    self._defer()
                return None
            self._admit(made)
        return None

    def _admit(self, made: socket.socket) -> None:
        made.setblocking(False)
        own = self.connections.accepted(made)
        connecting = self._tasks.create_task(self._connect(own), name="connection")
        self._connecting.add(connecting)
        connecting.add_done_callback(self._connecting.discard)

    async def _connect(self, own: Accepted) -> None:
        tls = self._bounds.tls and self._bounds.tls(self._protocols)
        try:
            transport, _ = await self._loop.connect_accepted_socket(
                self._factory,
                own,
                ssl=tls or None,
                ssl_handshake_timeout=HANDSHAKE_TIMEOUT if tls else None,
                ssl_shutdown_timeout=FAREWELL_TIMEOUT if tls else None,
            )
        except (OSError, asyncio.CancelledError):  # TLS that fails or takes too long, or a client that left meanwhile
            own.cut()
        else:
            own.transport = transport
            # TLS would keep half a megabyte for who does not read.
            transport.set_write_buffer_limits(high=MOST_UNSENT)

    def _full(self) -> bool:
        return 0 < self._bounds.connections <= self.connections.count

    def _turn_away(self) -> None:
        """Those who still wait: with a reset at once, so that a balancer tries elsewhere and a browser soon again."""
        self._later = None
        for listening in self._sockets:
            while (bound := self._out_of()) and self._turn_one_away(listening):
                self._bounds.count(bound)
        if self._out_of():
            self._defer()
        else:
            self._listen()

    def _out_of(self) -> str | None:
        if self._full():
            return "connections"
        self._give_spare()
        two = self._keep_spare() and self._has_another()
        return None if two else "descriptors"

    def _has_another(self) -> bool:
        try:
            os.close(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            return False
        return True

    def _keep_spare(self) -> bool:
        with suppress(OSError):
            self._spare = os.open(os.devnull, os.O_RDONLY)
        return self._spare != -1

    def _give_spare(self) -> None:
        if self._spare != -1:
            os.close(self._spare)
            self._spare = -1

    def _turn_one_away(self, listening: socket.socket) -> bool:
        """With the descriptor that is kept for it."""
        self._give_spare()
        try:
            made, _ = listening.accept()
            with made, suppress(OSError):
                made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        except OSError:
            return False
        else:
            return True
        finally:
            self._keep_spare()
