"""A server that only answers: raw sockets, one `send` for each stream. What the load makes of it is the ceiling of the load.

`python -m rowcast.bench.rivals.ceiling BIND`.
"""

from __future__ import annotations

import selectors
import socket
import sys

from rowcast.sockets import listen, parse_bind

_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_STREAM = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    b'data: {"seq":217468800000000}\nevent: hello\nid: 217468800000000\n\n'
)


class Ceiling:
    """Its one loop."""

    def __init__(self, listening: socket.socket) -> None:
        self._selector = selectors.DefaultSelector()
        self._selector.register(listening, selectors.EVENT_READ, self._accept)
        self._feed = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._feed.bind(listening.getsockname())
        self._selector.register(self._feed, selectors.EVENT_READ, self._write)
        self._streams: set[socket.socket] = set()
        self._asked: dict[socket.socket, bytes] = {}

    def run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                key.data(key.fileobj)

    def _accept(self, listening: socket.socket) -> None:
        made, _ = listening.accept()
        self._asked[made] = b""
        self._selector.register(made, selectors.EVENT_READ, self._read)

    def _write(self, feed: socket.socket) -> None:
        frames = feed.recv(1 << 16)
        for stream in self._streams:
            stream.sendall(frames)

    def _read(self, connection: socket.socket) -> None:
        try:
            piece = connection.recv(1 << 20)
        except OSError:
            piece = b""
        if not piece:
            self._close(connection)
            return
        self._asked[connection] += piece
        if b"\r\n\r\n" in self._asked[connection]:
            self._answer(connection, self._asked[connection])

    def _answer(self, connection: socket.socket, head: bytes) -> None:
        self._asked[connection] = b""
        if head.startswith(b"GET /events/"):
            connection.sendall(_STREAM)
            self._streams.add(connection)
        else:
            connection.sendall(_OK)
            self._close(connection)

    def _close(self, connection: socket.socket) -> None:
        self._selector.unregister(connection)
        self._streams.discard(connection)
        del self._asked[connection]
        connection.close()


if __name__ == "__main__":
    [socket_] = listen(parse_bind(sys.argv[1]))
    socket_.setblocking(True)
    Ceiling(socket_).run()
