"""What must never come of any input: a 5xx that is not documented, silence, an end, an error in the log, memory that stays taken."""

from __future__ import annotations

import json
import re
from collections import Counter, deque
from dataclasses import dataclass, field

import psutil

from tests.rig import Process

# 503: Postgres is away or overloaded. 501 and 505 are the HTTP servers' own: a transfer coding or a version that they don't know.
DOCUMENTED = frozenset({501, 503, 505})
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) ")
MEMORY = 40 << 20  # bytes by which a process may have grown
DESCRIPTORS = 10


@dataclass
class Findings:
    """What was wrong, with what was sent before it."""

    wrong: list[str] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    sent: deque[bytes] = field(default_factory=lambda: deque(maxlen=50))

    def answered(self, request: bytes, answer: bytes, *, sound: bool, whole: bool) -> None:
        """What came back for it."""
        found = [int(status) for status in _STATUS.findall(answer)]
        self.statuses.update(found)
        for status in found:
            if status >= 500 and status not in DOCUMENTED:
                self.wrong.append(f"{status} for {request[:400]!r}: {answer[:600]!r}")
        if sound and not found:
            self.wrong.append(f"{'an end' if whole else 'silence'} instead of an answer for {request[:400]!r}")

    def logged(self, name: str, log: str) -> None:
        """The log of a process, whole."""
        for line in log.splitlines():
            try:
                level = json.loads(line)["level"]
            except (ValueError, KeyError, TypeError):
                level = "unreadable"
            if level not in {"debug", "info", "warning"}:
                self.wrong.append(f"{name} logged: {line[:3_000]}")


@dataclass(frozen=True)
class Footprint:
    """What a process holds."""

    memory: int
    descriptors: int

    @classmethod
    def of(cls, process: Process) -> Footprint:
        found = psutil.Process(process.pid)
        return cls(found.memory_info().rss, found.num_fds())

    def grown(self, since: Footprint) -> str | None:
        """A sentence if it holds more than it did, beyond what caches explain."""
        if self.memory > since.memory + MEMORY:
            return f"memory grew from {since.memory >> 20} to {self.memory >> 20} MiB"
        if self.descriptors > since.descriptors + DESCRIPTORS:
            return f"descriptors grew from {since.descriptors} to {self.descriptors}"
        return None
