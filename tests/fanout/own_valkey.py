"""A Valkey that can be stopped and started again at the same place."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from rowcast.embedded import Server, start_valkey


class OwnValkey:
    """Running when made."""

    def __init__(self, state: Path) -> None:
        self._state = state
        server = start_valkey(state)
        self._server: Server | None = server
        self.port = server.port
        self.url = server.url

    def start(self) -> None:
        self._server = start_valkey(self._state, port=self.port)

    def freeze(self) -> None:
        """It keeps its connections and says nothing."""
        assert self._server is not None
        os.kill(self._server.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._server is not None
        os.kill(self._server.pid, signal.SIGCONT)

    def fill_disk(self) -> None:
        """Whatever it appends to a file from now on finds the disk full; takes effect with `CONFIG SET appendonly yes`."""
        folder = self._state / "valkey" / "appendonlydir"
        folder.mkdir(mode=0o777, exist_ok=True)
        folder.chmod(0o777)
        (folder / "temp-appendonly.aof.incr").symlink_to("/dev/full")

    def kill(self) -> None:
        """Without a word; what it knew is gone."""
        assert self._server is not None
        os.kill(self._server.pid, signal.SIGKILL)
        self.stop()

    def stop(self) -> None:
        if self._server is not None:
            self.thaw()
            self._server.stop()
            self._server = None
