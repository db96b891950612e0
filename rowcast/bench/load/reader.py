"""A process that holds streams open and counts what comes. It parses next to nothing, so that the server is the limit and not this.

The parent says (word, argument) over a pipe and gets one answer to each. When the pipe ends, so does the process.
"""

from __future__ import annotations

import errno
import gc
import selectors
import signal
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from rowcast.bench.load.wire import Stream, request

_RECEIVE = 1 << 18
# Connections that have had no byte yet, so that no queue of the kernel overflows.
_OPENING = 500
_RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class Opening:
    """Which streams to open: `paths`, each with the position to come back with, if any. `stamped`: note when each event came."""

    address: tuple[str, int]
    paths: list[tuple[str, bytes]]
    stamped: bool = False


@dataclass(slots=True)
class Progress:
    """Where a reader is: streams greeted and lost, events and bytes so far, when (ns) the last event and the last `hello` came."""

    greeted: int = 0
    lost: int = 0
    events: int = 0
    bytes: int = 0
    last_event: int = 0
    last_greeting: int = 0


class Reader:
    """All streams of one process."""

    def __init__(self, parent: Connection) -> None:
        self._parent = parent
        self._selector = selectors.DefaultSelector()
        self._selector.register(parent, selectors.EVENT_READ, self._obey)
        self._streams: dict[socket.socket, Stream] = {}
        self._to_open: deque[tuple[str, bytes]] = deque()
        self._opening = 0
        self._wanted: Opening | None = None
        self._progress = Progress()
        self._arrivals: list[tuple[int, int]] = []
        self._goal: tuple[int, int] | None = None
        self._buffer = memoryview(bytearray(_RECEIVE))
        self._ended = False
        self._words: dict[str, Callable[[Any], None]] = {
            "open": self._open,
            "reach": self._reach,
            "progress": self._tell_progress,
            "arrivals": self._tell_arrivals,
            "cut": self._cut,
        }

    def run(self) -> None:
        while not self._ended:
            for key, _ in self._selector.select():
                key.data(key.fileobj)
            self._open_more()
            self._tell_if_reached()

    def _obey(self, _: object) -> None:
        try:
            word, argument = self._parent.recv()
        except (EOFError, OSError):
            self._ended = True
            return
        self._words[word](argument)

    def _open(self, opening: Opening) -> None:
        self._wanted = opening
        self._to_open.extend(opening.paths)
        self._parent.send(None)

    def _reach(self, goal: tuple[int, int]) -> None:
        """Answer once so many streams are greeted and so many events have come, or some stream was lost."""
        self._goal = goal

    def _tell_progress(self, _: None) -> None:
        self._goal = None
        self._parent.send(self._progress)

    def _tell_arrivals(self, _: None) -> None:
        """The (stamp, when it came) of all events since the last time."""
        self._parent.send(self._arrivals)
        self._arrivals = []

    def _cut(self, _: None) -> None:
        """Reset all connections at once; the positions the streams had at their `hello`."""
        self._parent.send([stream.last_id for stream in self._streams.values()])
        for connection in list(self._streams):
            self._close(connection)
        self._to_open.clear()
        self._progress, self._opening = Progress(), 0

    def _open_more(self) -> None:
        while self._to_open and self._opening < _OPENING and self._wanted:
            path, position = self._to_open.popleft()
            self._connect(self._wanted.address, path, position)

    def _connect(self, address: tuple[str, int], path: str, position: bytes) -> None:
        made = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_STREAM)
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        if (error := made.connect_ex(address)) not in (0, errno.EINPROGRESS):
            raise OSError(error, "can't connect")
        self._opening += 1
        asking = request(path, f"{address[0]}:{address[1]}", position)

        def ask(connection: socket.socket) -> None:
            connection.send(asking)
            self._selector.modify(connection, selectors.EVENT_READ, self._receive)

        self._streams[made] = Stream()
        self._selector.register(made, selectors.EVENT_WRITE, ask)

    def _receive(self, connection: socket.socket) -> None:
        try:
            piece = self._buffer[: connection.recv_into(self._buffer)].tobytes()
        except OSError:
            piece = b""
        now = time.monotonic_ns()
        if not piece:
            self._progress.lost += 1
            self._close(connection)
            return
        self._take(self._streams[connection], piece, now)

    def _take(self, stream: Stream, piece: bytes, now: int) -> None:
        greeted, progress = stream.greeted, self._progress
        if self._wanted and self._wanted.stamped:
            stamps = stream.stamps(piece)
            self._arrivals.extend((stamp, now) for stamp in stamps)
            events = len(stamps)
        else:
            events = stream.feed(piece)
        progress.bytes += len(piece)
        if events:
            progress.events += events
            progress.last_event = now
        if stream.greeted and not greeted:
            self._opening -= 1
            progress.greeted += 1
            progress.last_greeting = now

    def _tell_if_reached(self) -> None:
        if self._goal is None:
            return
        streams, events = self._goal
        done = self._progress.greeted >= streams and self._progress.events >= events
        if done or self._progress.lost:
            self._goal = None
            self._parent.send(self._progress)

    def _close(self, connection: socket.socket) -> None:
        self._selector.unregister(connection)
        del self._streams[connection]
        connection.close()


def main(parent: Connection) -> None:
    """What the process runs. Ctrl-C is the parent's affair."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.disable()  # no pauses; nothing here makes cycles
    Reader(parent).run()


def ask(to: Connection, word: str, argument: Any = None) -> Any:
    """Say one word to such a process and wait for its answer."""
    to.send((word, argument))
    return to.recv()
