"""A TCP wire between two parts that can be cut, stalled, slowed, and made to swallow what goes over it: network faults without root."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from itertools import cycle
from urllib.parse import urlsplit, urlunsplit

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.wire_connection import BOTH, Connection, Direction, Mode, felt

_PORTS = {"postgresql": 5432, "postgres": 5432, "redis": 6379, "http": 80}


class Wire:
    """`url` is the target's, by way of this wire. Every mode holds for present and later connections, and with other modes, until `heal`."""

    def __init__(self, target: str, tasks: asyncio.TaskGroup) -> None:
        self._tasks = tasks
        self._loop = asyncio.get_running_loop()
        self._listening: socket.socket | None = None
        self._present: set[Connection] = set()
        self._closed = False
        self._changed = asyncio.Event()
        self._free_at = dict.fromkeys(BOTH, 0.0)
        # Bound beside the listening socket and never listening itself: the port stays ours while the wire refuses.
        self._reserved = _bind(0)
        self.port = int(self._reserved.getsockname()[1])
        self.mode = Mode()
        self.opened = 0
        self.ended = 0
        self.swallowed: dict[Direction, bytearray] = {"up": bytearray(), "down": bytearray()}
        self.retarget(target)
        self.url = _by_way_of(self.port, target)
        self._listen()

    @property
    def connections(self) -> int:
        """How many are open now."""
        return len(self._present)

    @property
    def far_ports(self) -> set[int]:
        """The client's ports of the present connections, as the server sees them."""
        ends = [connection.far.get_extra_info("sockname") for connection in self._present if connection.far]
        return {end[1] for end in ends if end}

    def retarget(self, *targets: str) -> None:
        """Lead later connections to another server; to several in turn."""
        self._targets = cycle([_place(target) for target in targets])

    def next_target(self) -> tuple[str, int]:
        """Where the next connection leads to."""
        return next(self._targets)

    def black_hole(self, *, up: bool = True, down: bool = True) -> None:
        """Swallow all bytes, and the ends of connections, too; new connections are taken and hear nothing. `down` only: replies are lost."""
        self._set(replace(self.mode, swallowing=_directions(up, down)))

    def hold(self, *, up: bool = True, down: bool = True) -> None:
        """Keep all bytes back, to deliver them on `heal`: what a short loss of packets does to TCP."""
        self._set(replace(self.mode, holding=_directions(up, down)))

    def delay(self, seconds: float) -> None:
        """Deliver every byte so much later, in each direction, in order."""
        self._set(replace(self.mode, delay=seconds))

    def throttle(self, bytes_per_second: float) -> None:
        """Carry at most so much in each direction, all connections together."""
        self._set(replace(self.mode, rate=bytes_per_second))

    def slice(self, size: int, *, pause: float = 0.0) -> None:
        """Deliver in pieces of at most `size` bytes, with a pause of so many seconds after each."""
        self._set(replace(self.mode, piece=size, pause=pause))

    def cut_after(self, nbytes: int, direction: Direction = "down", *, once: bool = False) -> None:
        """Reset each connection, present or later, once it has carried so many more bytes; `once`: only the first that does."""
        for connection in self._present:
            connection.carried = dict.fromkeys(BOTH, 0)
        self._set(replace(self.mode, cut=(direction, nbytes), cut_once=once))

    def refuse(self) -> None:
        """Refuse new connections, as a port without a server does; present ones go on."""
        self._silence()

    def reset(self) -> None:
        """Reset all present connections, at both ends."""
        for connection in tuple(self._present):
            connection.reset()

    def inject(self, words: bytes) -> None:
        """Say this to all present clients, as if the server had."""
        for connection in self._present:
            connection.near.write(words)

    def heal(self) -> None:
        """Carry everything again. Connections that lost bytes on the way are reset: TCP itself never loses any in the middle."""
        self._listen()
        self._set(Mode())
        for connection in [each for each in self._present if each.broken]:
            connection.reset()

    async def swallows(self, words: bytes, direction: Direction = "down", *, within: float = 10.0) -> None:
        """Wait until the black hole has these bytes."""
        async with asyncio.timeout(within):
            while words not in self.swallowed[direction]:
                await self.changed()

    async def changed(self) -> None:
        """Wait for the next mode, the next swallowed bytes or the next end of a connection."""
        await self._changed.wait()

    async def passage(self, direction: Direction, size: int) -> None:
        """Wait for a turn to carry `size` bytes."""
        if rate := self.mode.rate:
            start = max(self._loop.time(), self._free_at[direction])
            self._free_at[direction] = start + size / rate
            await asyncio.sleep(self._free_at[direction] - self._loop.time())

    def swallow(self, direction: Direction, data: bytes) -> None:
        """Note what is lost."""
        self.swallowed[direction] += data
        self._announce()

    def was_cut(self) -> None:
        """A connection has reached the length it was to be cut at."""
        if self.mode.cut_once:
            self._set(replace(self.mode, cut=None))

    def close(self) -> None:
        self._closed = True
        self._silence()
        self._reserved.close()
        self.reset()

    def _set(self, mode: Mode) -> None:
        self.mode = mode
        self._free_at = dict.fromkeys(BOTH, 0.0)
        self._announce()

    def _announce(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _listen(self) -> None:
        if self._listening is None:
            self._listening = _bind(self.port)
            self._listening.listen(1024)
            self._loop.add_reader(self._listening, self._accept)

    def _silence(self) -> None:
        if self._listening is not None:
            self._loop.remove_reader(self._listening)
            self._listening.close()
            self._listening = None

    def _accept(self) -> None:
        assert self._listening is not None
        with suppress(BlockingIOError, ConnectionAbortedError):
            while True:
                near, _ = self._listening.accept()
                near.setblocking(False)
                self.opened += 1
                self._tasks.create_task(self._carry(near), name="wire")

    async def _carry(self, near: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=near)
        connection = Connection(self, reader, writer)
        if self._closed:
            connection.reset()  # it was taken just before, and nobody would end it
            return
        self._present.add(connection)
        try:
            await connection.run()
        finally:
            self._present.discard(connection)
            self.ended += 1
            self._announce()


def _directions(up: bool, down: bool) -> frozenset[Direction]:
    return frozenset(direction for direction, wanted in zip(BOTH, (up, down), strict=True) if wanted)


def _place(target: str) -> tuple[str, int]:
    if "://" not in target:
        words = conninfo_to_dict(target)
        return str(words["host"]), int(words["port"] or 0)
    parts = urlsplit(target)
    return parts.hostname or "127.0.0.1", parts.port or _PORTS[parts.scheme]


def _by_way_of(port: int, target: str) -> str:
    if "://" not in target:
        return make_conninfo(target, host="127.0.0.1", port=port)
    parts = urlsplit(target)
    user, at, _ = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user}{at}127.0.0.1:{port}"))


def _bind(port: int) -> socket.socket:
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    felt(bound)  # those who are taken inherit it
    bound.setblocking(False)
    bound.bind(("127.0.0.1", port))
    return bound


@asynccontextmanager
async def wire(target: str) -> AsyncIterator[Wire]:
    """A wire to that postgresql://, redis:// or http:// URL (or keywords of libpq), until the end of the block."""
    try:
        async with asyncio.TaskGroup() as tasks:
            made = Wire(target, tasks)
            try:
                yield made
            finally:
                made.close()
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None  # what the test itself raised
