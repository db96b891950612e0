"""A stream ends when its token does."""

from __future__ import annotations

import asyncio

from core.clock import Clock
from web.mailbox import Mailbox

# Seconds. The time of day may jump, and stands still for timers while a machine sleeps: it is looked at as often as this.
LOOK_EVERY = 60.0
_REASON = "its token has expired"


class Expiry:
    """One timer of the event loop, from now until the token's end or `cancel`. Streams whose tokens never end have none."""

    __slots__ = ("_at", "_clock", "_mailbox", "_timer")

    def __init__(self, mailbox: Mailbox, expires_at: float, leeway: float, clock: Clock) -> None:
        """`leeway`: a token that has expired is taken for as many seconds more; a stream that begins then lasts as long."""
        self._mailbox = mailbox
        self._clock = clock
        self._at = expires_at if clock.time() < expires_at else expires_at + leeway
        self._timer: asyncio.TimerHandle | None = None
        self._look()

    def cancel(self) -> None:
        """The stream has gone."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        left = self._at - self._clock.time()
        if left <= 0:
            self._mailbox.end(_REASON)
        else:
            self._timer = asyncio.get_running_loop().call_later(min(left, LOOK_EVERY), self._look)
