"""One connection over a wire: from a client to the server behind it, under whatever the wire does to every byte."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from fcntl import ioctl
from termios import TIOCOUTQ
from typing import Literal, Protocol

Direction = Literal["up", "down"]  # up: from the client to the server
BOTH: tuple[Direction, ...] = ("up", "down")
CHUNK = 1 << 16
_IN_FLIGHT = 4  # chunks read and not yet delivered: what a delay may hold before the sender feels it


@dataclass(frozen=True, slots=True)
class Mode:
    """What the wire does to every byte; the default is nothing."""

    swallowing: frozenset[Direction] = frozenset()
    holding: frozenset[Direction] = frozenset()
    delay: float = 0.0
    rate: float = 0.0  # bytes a second and direction, for all connections together; 0: no limit
    piece: int = CHUNK
    pause: float = 0.0
    cut: tuple[Direction, int] | None = None
    cut_once: bool = False


class Medium(Protocol):
    """The wire, as its connections see it."""

    mode: Mode

    def next_target(self) -> tuple[str, int]: ...
    async def changed(self) -> None: ...
    async def passage(self, direction: Direction, size: int) -> None: ...
    def swallow(self, direction: Direction, data: bytes) -> None: ...
    def was_cut(self) -> None: ...


@dataclass(eq=False)
class Connection:
    """One client's connection and the one to the server that belongs to it."""

    wire: Medium
    reader: asyncio.StreamReader
    near: asyncio.StreamWriter
    far: asyncio.StreamWriter | None = None
    broken: bool = False  # something of it was swallowed
    carried: dict[Direction, int] = field(default_factory=lambda: dict.fromkeys(BOTH, 0))
    _task: asyncio.Task[None] | None = None

    async def run(self) -> None:
        self._task = asyncio.current_task()
        try:
            if self.wire.mode.swallowing == frozenset(BOTH):
                await self._vanish()
            else:
                await self._carry()
        except* (OSError, asyncio.CancelledError):
            self._abort()  # a connection ends so or so, and nobody waits for this one's end
        finally:
            self._close()

    def reset(self) -> None:
        self._abort()
        if self._task:
            self._task.cancel()

    async def _vanish(self) -> None:
        """It never reaches the server."""
        self.broken = True
        while data := await self.reader.read(CHUNK):
            self.wire.swallow("up", data)

    async def _carry(self) -> None:
        far_reader, self.far = await asyncio.open_connection(*self.wire.next_target())
        felt(self.far.get_extra_info("socket"))
        ways: Iterable[tuple[Direction, asyncio.StreamReader, asyncio.StreamWriter]] = (
            ("up", self.reader, self.far),
            ("down", far_reader, self.near),
        )
        async with asyncio.TaskGroup() as tasks:
            for direction, reader, writer in ways:
                writer.transport.set_write_buffer_limits(high=0)
                flying: asyncio.Queue[tuple[float, bytes | None]] = asyncio.Queue(_IN_FLIGHT)
                tasks.create_task(self._read(reader, flying))
                tasks.create_task(self._deliver(direction, flying, writer))

    async def _read(self, reader: asyncio.StreamReader, flying: asyncio.Queue[tuple[float, bytes | None]]) -> None:
        """Note when each chunk came; at last an empty one for an orderly end, None for a reset."""
        data: bytes | None = b"-"
        while data:
            try:
                data = await reader.read(CHUNK)
            except OSError:
                data = None
            await flying.put((asyncio.get_running_loop().time(), data))

    async def _deliver(
        self,
        direction: Direction,
        flying: asyncio.Queue[tuple[float, bytes | None]],
        writer: asyncio.StreamWriter,
    ) -> None:
        while True:
            came, data = await flying.get()
            await self._fly(came)
            if await self._is_swallowed(direction):
                self.broken = True
                self.wire.swallow(direction, data or b"")
            elif data is None:
                raise ConnectionResetError
            elif data:
                await self._write(direction, data, writer)
            else:
                writer.write_eof()
            if not data:
                return

    async def _fly(self, came: float) -> None:
        while (left := came + self.wire.mode.delay - asyncio.get_running_loop().time()) > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self.wire.changed()

    async def _is_swallowed(self, direction: Direction) -> bool:
        while direction in self.wire.mode.holding:
            await self.wire.changed()
        return direction in self.wire.mode.swallowing

    async def _write(self, direction: Direction, data: bytes, writer: asyncio.StreamWriter) -> None:
        while data:
            size = self._next_piece(direction, len(data))
            await self.wire.passage(direction, size)
            if await self._is_swallowed(direction):
                self.broken = True
                return self.wire.swallow(direction, data)
            writer.write(data[:size])
            await writer.drain()
            self.carried[direction] += size
            await self._cut_if_due(direction, writer)
            data = data[size:]
            await asyncio.sleep(self.wire.mode.pause)
        return None

    def _next_piece(self, direction: Direction, size: int) -> int:
        mode = self.wire.mode
        if mode.rate:
            size = min(size, max(1, int(mode.rate / 50)))
        if mode.cut and mode.cut[0] == direction:
            size = min(size, max(1, mode.cut[1] - self.carried[direction]))
        return min(size, mode.piece)

    async def _cut_if_due(self, direction: Direction, writer: asyncio.StreamWriter) -> None:
        cut = self.wire.mode.cut
        if cut and cut[0] == direction and self.carried[direction] >= cut[1]:
            self.wire.was_cut()
            await _acknowledged(writer)
            self._abort()
            raise ConnectionResetError

    def _close(self) -> None:
        for writer in (self.near, self.far):
            if writer is not None:
                writer.close()

    def _abort(self) -> None:
        for writer in (self.near, self.far):
            if writer is not None and not writer.transport.is_closing():
                end: socket.socket = writer.get_extra_info("socket")
                # No linger: closing sends a reset, whatever is unread or unsent.
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()


async def _acknowledged(writer: asyncio.StreamWriter, *, within: float = 1.0) -> None:
    """Wait until the other end has all that was written: a reset drops what is still under way."""
    end: socket.socket = writer.get_extra_info("socket")
    with suppress(TimeoutError):
        async with asyncio.timeout(within):
            while struct.unpack("i", ioctl(end, TIOCOUTQ, b"\0\0\0\0"))[0]:
                await asyncio.sleep(0.001)


def felt(end: socket.socket) -> None:
    """Let the sender feel a slow wire soon: by itself the kernel would take megabytes."""
    end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, CHUNK)
