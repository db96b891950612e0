"""The one shape that travels: a row that has its place in the log."""

from __future__ import annotations

from dataclasses import dataclass

NOTIFICATION = "notification"


@dataclass(frozen=True, slots=True)
class Event:
    """One stamped row, on its way to the streams of its user.

    `seq` is its position in the log, `kind` what it is ("notification"; later kinds get an `event:` line), `user_id` the user in
    the form Postgres prints (None: everyone), `body` the event as one line of JSON, built by Postgres and passed on untouched.
    """

    seq: int
    kind: str
    user_id: str | None
    body: str


@dataclass(frozen=True, slots=True)
class Range:
    """The stretch of the log `(start, end]` that one batch covers; `start` is where the last range ended, over leaders and terms."""

    start: int
    end: int
