"""Very many streams over bare sockets, which only count what they get."""

from __future__ import annotations

import selectors
import socket
import time
from types import TracebackType

_AT_ONCE = 200


class Crowd:
    """Streams of users 1,000 and up on that port of 127.0.0.1, read whenever a method waits."""

    first = 1000

    def __init__(self, port: int, *, within: float = 120.0) -> None:
        self._port = port
        self._within = within
        self._selector = selectors.DefaultSelector()
        self._sockets: list[socket.socket] = []
        self._seen = 0

    def __enter__(self) -> Crowd:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._selector.close()
        for made in self._sockets:
            made.close()

    def open(self, count: int) -> None:
        """Open so many streams, some at once, and wait until each was greeted."""
        for first in range(0, count, _AT_ONCE):
            fresh = range(first, min(first + _AT_ONCE, count))
            for number in fresh:
                made = socket.create_connection(("127.0.0.1", self._port))
                made.sendall(f"GET /events/{self.first + number}?since=now HTTP/1.1\r\nHost: bench\r\n\r\n".encode())
                made.setblocking(False)
                self._selector.register(made, selectors.EVENT_READ)
                self._sockets.append(made)
            self._wait(b"event: hello", len(fresh))

    def events(self, count: int) -> None:
        """Wait for so many events, over all streams."""
        self._wait(b'data: {"id"', count)

    def _wait(self, words: bytes, count: int) -> None:
        deadline = time.monotonic() + self._within
        while count > 0:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{count} times {words!r} never came")
            for key, _ in self._selector.select(1.0):
                count -= _recv(key.fileobj).count(words)  # type: ignore[arg-type]


def _recv(made: socket.socket) -> bytes:
    said = made.recv(1 << 16)
    if not said:
        raise ConnectionError("the server ended a stream")
    return said
