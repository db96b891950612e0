"""Points where a process can be made to crash, freeze, wait or fail on purpose, so that tests can do it exactly there.

    ROWCAST_FAIL_POINTS="bridge.claimed=kill@3,web.confirmed=pause:0.5,bridge.sent=error%10"

A point is named once, below, with what is true when it is reached. Each place in the code is two lines:

    if fail_points.armed:
        await fail_points.reach(Point.CLAIMED)

Free when off: one look at a dictionary that is empty, once a range, batch, re-read or page of a stream's start, never once a message.
"""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

import structlog

from core.clock import Clock
from core.errors import ConfigurationError, DatabaseUnavailableError, RedisUnavailableError

_log = structlog.get_logger("fail_points")


class Point(StrEnum):
    """Where; and what has happened, and what has not, when it is reached."""

    # The bridge. Only what carries rows counts: neither heartbeats nor empty claims.
    TERM_STARTED = "bridge.term_started"  # the term's start is committed, its mark not handed over
    CLAIMED = "bridge.claimed"  # the claim is committed, its range not handed over
    BODIES_READ = "bridge.bodies_read"  # a range is read, nothing of its last piece offered to a publisher
    SENT = "bridge.sent"  # a piece and its mark are written to Redis, no answer read
    MARKED = "bridge.marked"  # Redis has answered all of it
    PART_SENT = "bridge.part_sent"  # the same, and more pieces of this range follow
    # One stream's start, and the repair of all.
    ASKED = "web.asked"  # SSUBSCRIBE is written, its confirmation not waited for
    CONFIRMED = "web.confirmed"  # the stream's channel is confirmed, nothing of its backlog read
    BACKLOG_READ = "web.backlog_read"  # a page of its backlog is read, nothing of it written
    LIVE = "web.live"  # the stream is live, its greeting not written
    REREAD = "web.reread"  # a page of a bucket's re-read is read, nothing of it handed out
    # The end of a web process …
    DRAIN_BEGUN = "drain.begun"  # told to stop, no stream ended
    STREAMS_ENDED = "drain.streams_ended"  # every stream has ended, or had its time; the server still serves
    SERVER_CLOSED = "drain.server_closed"  # nobody is connected; subscription and sessions are open
    # … and of a bridge.
    STAMPING_ENDED = "drain.stamping_ended"  # the doorbell says busy, what is stamped not all sent
    EMPTIED = "drain.emptied"  # all is sent, or had its time; the leader lock still held


class FailPointError(DatabaseUnavailableError, RedisUnavailableError):
    """A fail point failed on purpose, as a server that goes away would."""


@dataclass(slots=True)
class FailPoint:
    """What to do at a point, on its Nth pass only (`nth`), or on each pass with so much percent of chance."""

    point: Point
    action: str
    seconds: float = 0.0
    nth: int | None = None
    percent: float | None = None
    passes: int = field(default=0, init=False)

    def due(self, clock: Clock) -> bool:
        """Is it this pass?"""
        self.passes += 1
        if self.nth is not None:
            return self.passes == self.nth
        return self.percent is None or clock.jitter(0, 100) < self.percent

    async def act(self, clock: Clock) -> None:
        """Kill or stop this process, wait, or raise FailPointError."""
        _log.warning("fail_point.reached", point=self.point.value, action=self.action, passes=self.passes)
        match self.action:
            case "kill":
                signal.raise_signal(signal.SIGKILL)
            case "stop":
                signal.raise_signal(signal.SIGSTOP)
            case "pause":
                await clock.sleep(self.seconds)
            case _:
                raise FailPointError


_Armed: TypeAlias = dict[Point, list[FailPoint]]

armed: _Armed = {}
_clock: list[Clock] = []
_FORM = re.compile(
    r"(?P<point>[a-z_.]+)=(?:(?P<action>kill|stop|error)|pause:(?P<seconds>\d+(?:\.\d+)?))"
    r"(?:@(?P<nth>[1-9]\d*)|%(?P<percent>\d+(?:\.\d+)?))?",
    re.ASCII,
)


def parse(spec: str) -> list[FailPoint]:
    """`POINT=ACTION` with commas between; ACTION is kill, stop, error or pause:SECONDS, and may end in @N or %P. Raises ConfigurationError."""
    return [_parse_one(item.strip()) for item in spec.split(",") if item.strip()]


def arm(spec: str, clock: Clock) -> None:
    """Have the points of `spec`, and no others, do as it says from now on; raises ConfigurationError."""
    armed.clear()
    _clock[:] = [clock]
    for one in parse(spec):
        armed.setdefault(one.point, []).append(one)
    if armed:
        _log.warning("fail_points.armed", points=spec, hint="this process fails on purpose; never set it in production")


async def reach(point: Point) -> None:
    """Do what is armed for `point`, if anything is."""
    for one in armed.get(point, ()):
        if one.due(_clock[0]):
            await one.act(_clock[0])


def _parse_one(item: str) -> FailPoint:
    found = _FORM.fullmatch(item)
    if found is None:
        raise ConfigurationError(
            f"ROWCAST_FAIL_POINTS: {item!r} is not POINT=ACTION, where ACTION is kill, stop, error or pause:SECONDS, "
            f"with @N for only the Nth pass or %P for a chance of P percent."
        )
    if found["point"] not in set(Point):
        raise ConfigurationError(f"ROWCAST_FAIL_POINTS: there is no point {found['point']!r}, only {', '.join(Point)}.")
    return FailPoint(
        Point(found["point"]),
        found["action"] or "pause",
        seconds=float(found["seconds"] or 0),
        nth=int(found["nth"]) if found["nth"] else None,
        percent=float(found["percent"]) if found["percent"] else None,
    )
