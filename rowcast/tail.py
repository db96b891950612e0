"""Following a user's stream for as long as it takes: reconnect, go on from the last position, show each event once."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import httpx
from httpx_sse import EventSource, ServerSentEvent, SSEError

from core.clock import Clock
from core.supervise import delay_after
from rowcast.address import refusal, segment
from rowcast.credentials import Errand

Note = Callable[[str], None]


@dataclass(slots=True)
class Follower:
    """A stream as one client sees it: its position outlives connections. `show` gets every event, `note` a line when the connection is
    lost and when it is back."""

    client: httpx.Client
    user: str
    since: str | None
    errand: Errand
    show: Callable[[ServerSentEvent], None]
    note: Note
    clock: Clock
    position: str = ""
    retry: float = 0.0
    failures: int = 0

    def run(self) -> None:
        """Follow for ever; raises RowcastError for an answer that trying again won't change."""
        while True:
            try:
                self._follow_once()
                lost = None
            except (httpx.TransportError, SSEError, _UnavailableError) as error:
                lost = str(error) or type(error).__name__
            self._wait(lost)

    def _follow_once(self) -> None:
        """One connection, until it ends."""
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        if self.position:
            headers["Last-Event-ID"] = self.position
        params = {"since": self.since} if self.since else {}
        with self.client.stream("GET", f"/events/{segment(self.user)}", headers=headers, params=params) as response:
            self._check(response)
            if self.failures:
                self.note("connected again")
            self.failures = 0
            for event in EventSource(response).iter_sse():
                self._take(event)

    def _take(self, event: ServerSentEvent) -> None:
        if event.retry is not None:
            self.retry = event.retry / 1000
        if event.data:
            self.show(event)
        # Last: what was not shown is not behind us. A block with only an id moves the position too.
        self.position = event.id or self.position

    def _wait(self, lost: str | None) -> None:
        """A server that ended the stream said when to come back; one that is lost is tried less and less often."""
        if lost is not None:
            self.failures += 1
            if self.failures == 1:
                self.note(f"connection lost ({lost}); trying again")
        time.sleep(max(self.retry, delay_after(max(1, self.failures), self.clock)))

    def _check(self, response: httpx.Response) -> None:
        if response.is_success:
            return
        response.read()
        if response.is_server_error:
            raise _UnavailableError(f"{response.status_code} {response.reason_phrase}")
        raise refusal(response, self.errand)


class _UnavailableError(Exception):
    """An answer that may be another one later."""
