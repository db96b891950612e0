"""Telling a rival what to write, and which rivals there are."""

from __future__ import annotations

import http.client
import socket
from importlib.util import find_spec
from urllib.parse import urlsplit

from rowcast.bench.figures import Outcome

_FRAMES_A_DATAGRAM = 200
NO_PG_SSE = "pg-sse: not installed (pip install 'rowcast[bench]')"


def missed(url: str, frame: bytes) -> None:
    """What the bare endpoint is to write at the start of each stream."""
    at = urlsplit(url)
    connection = http.client.HTTPConnection(str(at.hostname), at.port, timeout=60)
    try:
        connection.request("POST", "/missed", frame)
        connection.getresponse().read()
    finally:
        connection.close()


def write_to_all(url: str, frames: list[bytes]) -> None:
    """Have the bare endpoint or the ceiling write these to all its streams."""
    at = urlsplit(url)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as feed:
        for begin in range(0, len(frames), _FRAMES_A_DATAGRAM):
            feed.sendto(b"".join(frames[begin : begin + _FRAMES_A_DATAGRAM]), (str(at.hostname), at.port))


def have_pg_sse(found: Outcome) -> bool:
    """Whether the package is here; if not, `found` says so."""
    if find_spec("pg_sse") is None:
        found.not_run.append(NO_PG_SSE)
        return False
    return True


def everyones(count: int) -> list[str]:
    """As many streams of pg-sse that all ask for what is for everyone, its user 0."""
    return ["/events/0"] * count


def stream_paths(count: int, query: str = "?since=now") -> list[str]:
    """The streams of users 1 to `count`, one each."""
    return [f"/events/{user}{query}" for user in range(1, count + 1)]
