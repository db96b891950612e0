"""A port of 127.0.0.1 for a server, the same one over restarts where possible (Postgres can't be told to take any)."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterable
from pathlib import Path

from rowcast.embedded.server import EmbeddedServerError
from rowcast.folders import write_private

# Below the ports that Linux (32768) and macOS (49152) hand out to clients, so that a server finds its port free again.
_FIRST_PORT, _PORTS = 15_000, 15_000


def choose_port(remembered: Path) -> int:
    """A port of 127.0.0.1 that is free now: the one written in `remembered` if it still is, else another, which is then written there."""
    candidates = [*_read_port(remembered), *_spread(str(remembered))]
    for port in candidates:
        if is_free(port):
            write_private(remembered, f"{port}\n")
            return port
    raise EmbeddedServerError(f"No free port on 127.0.0.1 in a thousand tries from {candidates[0]}.")


def _read_port(remembered: Path) -> Iterable[int]:
    try:
        return [int(remembered.read_text("utf-8"))]
    except (OSError, ValueError):
        return []


def _spread(seed: str) -> Iterable[int]:
    start = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:4], "big")
    return [_FIRST_PORT + (start + step) % _PORTS for step in range(1000)]


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of 127.0.0.1 now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError):
            return False
    return True
