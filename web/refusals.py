"""What was refused because a cap was reached: counted for /metrics, and told in the log, where a flood must not flood."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import structlog
from prometheus_client import CollectorRegistry, Counter

from core.clock import Clock

_log = structlog.get_logger("limits")

QUIET = 60.0  # seconds between two lines about one cap


class Cap(StrEnum):
    """What is bounded, by the name of its setting if it has one."""

    BODY_BYTES = "body_bytes"
    BROKEN_CONNECTIONS = "broken_connections"
    CONNECTIONS = "connections"
    DESCRIPTORS = "descriptors"
    HEADER_BYTES = "header_bytes"
    HTTP2_FLOODS = "http2_floods"
    QUERY_TIMEOUT = "query_timeout"
    REPLAY_ROWS = "replay_rows"
    REQUESTS_PER_ADDRESS = "requests_per_address"
    SLOW_READERS = "slow_readers"
    STREAMS_PER_ADDRESS = "streams_per_address"
    STREAMS_PER_USER = "streams_per_user"


@dataclass(slots=True)
class _Told:
    """When the log last spoke of a cap, and how often it was reached since."""

    at: float
    since: int = 0


class Refusals:
    """One for each process. The log names a cap when it is first reached, and then once a minute with how often since."""

    def __init__(self, clock: Clock, registry: CollectorRegistry | None = None) -> None:
        self._clock = clock
        self._told: dict[Cap, _Told] = {}
        total = Counter(
            "rowcast_refusals",
            "What was refused because a cap was reached.",
            ["cap"],
            registry=registry or CollectorRegistry(),
        )
        self._counters = {cap: total.labels(cap.value) for cap in Cap}

    def count(self, cap: Cap) -> None:
        """One more was refused."""
        self._counters[cap].inc()
        told = self._told.get(cap)
        if told is None:
            self._told[cap] = _Told(self._clock.now())
            _tell(cap, 1)
        else:
            told.since += 1

    async def run(self) -> None:
        """Tell once a minute what was not told yet; returns only by cancellation."""
        while True:
            await self._clock.sleep(QUIET / 12)
            now = self._clock.now()
            for cap, told in list(self._told.items()):
                if now - told.at >= QUIET:
                    self._tell_or_forget(cap, told, now)

    def _tell_or_forget(self, cap: Cap, told: _Told, now: float) -> None:
        if not told.since:
            del self._told[cap]
            return
        _tell(cap, told.since)
        self._told[cap] = _Told(now)


def _tell(cap: Cap, count: int) -> None:
    _log.warning("limit.reached", cap=cap.value, count=count)
