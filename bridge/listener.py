"""The doorbell's ear: LISTEN on a session of its own, proved alive by a round trip each second."""

from __future__ import annotations

from contextlib import aclosing

import structlog

from bridge.bell import Bell
from core.clock import Clock
from core.supervise import Attempt, supervise
from db.connect import listen, notifications, queue_usage, session

_log = structlog.get_logger("listener")

PING_EVERY = 1.0
# Above this writers do not ring (rowcast.ring), so that no INSERT fails for want of room.
FULL = 0.5


class Listener:
    """Rings `bell` for every NOTIFY rowcast, and for every new LISTEN: what was inserted while nobody listened is to be claimed."""

    def __init__(self, database_url: str, bell: Bell, clock: Clock) -> None:
        self._url = database_url
        self._bell = bell
        self._clock = clock
        self._queue_is_full = False
        self._attempt: Attempt | None = None

    @property
    def hears(self) -> bool:
        """Would a NOTIFY be heard now?"""
        return self._attempt is not None and self._attempt.lives

    async def run(self) -> None:
        """Listen and listen again; returns only by cancellation."""
        await supervise("postgres listen", self._listen_once, clock=self._clock)

    async def _listen_once(self, attempt: Attempt) -> None:
        self._attempt = attempt
        async with session(self._url, name="rowcast-listen") as connection:
            try:
                await listen(connection)
                self._bell.connected = True
                self._bell.ring()
                attempt.succeeded()
                while True:
                    # To its natural end: leaving early loses what came in the same packet.
                    async with aclosing(notifications(connection, PING_EVERY)) as heard:
                        async for _ in heard:
                            self._bell.ring()
                    self._note_queue(await queue_usage(connection))
                    attempt.succeeded()
            finally:
                self._bell.connected = False

    def _note_queue(self, usage: float) -> None:
        if usage >= FULL and not self._queue_is_full:
            _log.warning(
                "listener.queue_full",
                usage=round(usage, 2),
                hint="somebody LISTENs on this server and does not read; its log names the PID. Rows come with the poll meanwhile",
            )
        elif usage < FULL and self._queue_is_full:
            _log.info("listener.queue_has_room")
        self._queue_is_full = usage >= FULL
