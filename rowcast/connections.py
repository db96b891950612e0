"""The connections of a process, from their acceptance to the moment the kernel has freed them.

Neither server ends a connection whose client reads nothing, or a byte a second: its `send` waits, and the kernel keeps what was sent. So
each is looked at every few seconds: is something still on its way that was so `PATIENCE` seconds ago? Then it is cut, with a reset, so that
nothing of it is left. The same for one that was closed with bytes unsent, and, by themselves, for the streams of one HTTP/2 connection.
"""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
import sys
import termios
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from core.clock import Clock

# Seconds that a byte may wait for its reader, if that one takes less than SLOWEST bytes a second meanwhile. Who can't be reached is given more
# time, as it can't be told either: the kernel's TCP_USER_TIMEOUT.
PATIENCE = 10.0
SLOWEST = 512
# Seconds between two looks at one connection, and at one that was closed and still sends.
LOOK = 4.0
_TICK = 0.5
_AT_ONCE = 500  # looks without letting others run
_BREATH = (
    0.002  # seconds from one cut to the next: hundreds at once, with all that ends with them, would hold up the others
)
# Linux: bytes that may wait in the kernel before the server waits; by itself the kernel takes megabytes of what nobody reads.
_TCP_NOTSENT_LOWAT = 25
UNSENT = 1 << 16
_RESET = struct.pack("ii", 1, 0)
_TCP_CLOSE = 7
# In Linux's struct tcp_info.
_STATE_AT, _RETRANSMITS_AT, _ACKED_AT = 0, 2, 120
_ACKED = struct.Struct("<Q")


class Reader(Protocol):
    """Somebody who is sent something, and takes at least `slowest` bytes a second of it, or is cut."""

    slowest: int

    def waiting(self) -> int:
        """Bytes that are on the way and not taken."""

    def taken(self) -> int:
        """Bytes taken until now; only ever grows."""

    def lost(self) -> bool:
        """Whether the network, and not the reader, is what is slow."""

    def cut(self) -> None:
        """End it at once."""


@dataclass(slots=True)
class _Mark:
    """What was on the way when a reader was looked at."""

    at: float
    taken: int
    waiting: int


class Accepted(socket.socket):
    """A client's end. Closed with bytes still on their way it stays open, and counted, until they have arrived or nobody takes them."""

    slowest = SLOWEST

    def __init__(self, made: socket.socket, connections: Connections) -> None:
        super().__init__(made.family, made.type, made.proto, fileno=made.detach())
        self.transport: asyncio.Transport | None = None
        self._connections = connections
        self._cutting = False
        _hold_little(self)

    def close(self) -> None:
        if self.fileno() != -1 and not self._cutting and self.waiting():
            with suppress(OSError):
                self.shutdown(socket.SHUT_WR)
            self.transport = None
            self._connections.closing(self)
        else:
            self.free()

    def free(self) -> None:
        """Let go of it, whatever is on the way."""
        super().close()
        self._connections.freed(self)

    def waiting(self) -> int:
        """None once the client has reset the connection: the kernel goes on counting what it has dropped."""
        try:
            queued = int.from_bytes(fcntl.ioctl(self, termios.TIOCOUTQ, b"\0\0\0\0"), "little")
            return 0 if queued and self._was_reset() else queued
        except (OSError, ValueError):
            return 0

    def lost(self) -> bool:
        with suppress(OSError, AttributeError):
            return self._told()[_RETRANSMITS_AT] > 0
        return False

    def _was_reset(self) -> bool:
        with suppress(OSError, AttributeError):  # none of a Unix socket
            return self._told()[_STATE_AT] == _TCP_CLOSE
        return False

    def _told(self) -> bytes:
        return self.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ACKED_AT + _ACKED.size)

    def taken(self) -> int:
        with suppress(OSError, struct.error):
            return int(_ACKED.unpack_from(self._told(), _ACKED_AT)[0])
        return 0

    def cut(self) -> None:
        """With a reset: what is unsent would stay with the kernel."""
        self._cutting = True
        with suppress(OSError):
            self.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        if self.transport is None:
            self.free()
        else:
            self.transport.abort()


class Untold(Accepted):
    """One of which no kernel tells what was taken: through a Unix socket, or elsewhere than on Linux. So what is sent is counted."""

    _sent = 0

    def send(self, data: Any, flags: int = 0, /) -> int:
        sent = super().send(data, flags)
        self._sent += sent
        return sent

    def sendmsg(self, buffers: Iterable[Any], *more: Any) -> int:
        """What asyncio sends with since Python 3.12."""
        sent = super().sendmsg(buffers, *more)
        self._sent += sent
        return sent

    def taken(self) -> int:
        return self._sent - self.waiting()


class Connections:
    """All of one process."""

    def __init__(self, clock: Clock, count: Callable[[str], None]) -> None:
        self._clock = clock
        self._readers: dict[Reader, _Mark | None] = {}
        self._open: set[Accepted] = set()
        self._closing: dict[Reader, _Mark | None] = {}
        self._count = count

    @property
    def count(self) -> int:
        """Those that the kernel still has."""
        return len(self._open)

    def accepted(self, made: socket.socket) -> Accepted:
        """A connection that has just been accepted, as the one we keep."""
        told = sys.platform == "linux" and made.family != socket.AF_UNIX
        own = Accepted(made, self) if told else Untold(made, self)
        self._open.add(own)
        self._readers[own] = None
        return own

    def watch(self, reader: Reader) -> None:
        """Cut it as well when it takes nothing."""
        self._readers[reader] = None

    def forget(self, reader: Reader) -> None:
        self._readers.pop(reader, None)

    def closing(self, one: Accepted) -> None:
        """It is closed, and has not yet sent everything."""
        self._closing[one] = self._readers.pop(one, None)

    def freed(self, one: Accepted) -> None:
        self._open.discard(one)
        self._readers.pop(one, None)
        self._closing.pop(one, None)

    def cut_all(self) -> None:
        for one in list(self._open):
            one.cut()

    async def run(self) -> None:
        """Look at all of them again and again; returns only by cancellation."""
        looked = self._clock.now()
        while True:
            await self._clock.sleep(_TICK)
            for reader in list(self._closing):
                self._look(self._closing, reader)
                if isinstance(reader, Accepted) and not reader.waiting():
                    reader.free()
            if self._clock.now() - looked >= LOOK:
                looked = self._clock.now()
                await self._look_at_all()

    async def _look_at_all(self) -> None:
        for number, reader in enumerate(list(self._readers), 1):
            if self._look(self._readers, reader):
                await self._clock.sleep(_BREATH)
            elif number % _AT_ONCE == 0:
                await asyncio.sleep(0)

    def _look(self, among: dict[Reader, _Mark | None], reader: Reader) -> bool:
        """Whether it was cut."""
        if reader not in among:
            return False
        mark, now, waiting = among[reader], self._clock.now(), reader.waiting()
        if not waiting:
            among[reader] = None
        elif mark is None or (taken := reader.taken()) >= mark.taken + mark.waiting:
            among[reader] = _Mark(now, reader.taken(), waiting)
        elif now - mark.at >= PATIENCE:
            if taken - mark.taken < reader.slowest * (now - mark.at) and not reader.lost():
                self._count("slow_readers")
                reader.cut()
                return True
            among[reader] = _Mark(now, taken, waiting)
        return False


def _hold_little(end: socket.socket) -> None:
    """Bound what the kernel keeps back, without bounding what is under way to a fast reader."""
    with suppress(OSError):
        if sys.platform == "linux":
            end.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, UNSENT)
        else:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * UNSENT)
