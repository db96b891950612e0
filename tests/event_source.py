"""The tests' own EventSource: the WHATWG algorithm, byte for byte, and a record of everything that was dispatched.

It shares no code with Rowcast, so that the two can't be wrong together; its parser is checked against the web-platform-tests.
"""

from __future__ import annotations

import asyncio
import codecs
import json
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import httpx

DEADLINE = 30.0
_LINE_END = re.compile("\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class Dispatched:
    """A message event as a page gets it."""

    type: str
    data: str
    last_event_id: str

    @property
    def json(self) -> Any:
        return json.loads(self.data)


class Parser:
    """WHATWG HTML 9.2.6, "interpreting an event stream". `feed` returns what is dispatched; the rest at the end is discarded."""

    def __init__(self, last_event_id: str = "") -> None:
        self.last_event_id = last_event_id
        self.retry: int | None = None
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._line = ""
        self._first = True
        self._after_cr = False
        self._data: list[str] = []
        self._type = ""
        self._id = last_event_id

    def feed(self, chunk: bytes) -> list[Dispatched]:
        text = self._decoder.decode(chunk)
        if text and self._first:
            self._first = False
            text = text.removeprefix("\ufeff")
        if text and self._after_cr:
            self._after_cr = False
            text = text.removeprefix("\n")
        *lines, self._line = _LINE_END.split(self._line + text)
        # A CR at the end is a whole line end: should a LF follow, it is the other half of it.
        self._after_cr = self._after_cr or text.endswith("\r")
        return [event for line in lines if (event := self._take(line))]

    def _take(self, line: str) -> Dispatched | None:
        if not line:
            return self._dispatch()
        if line.startswith(":"):
            return None
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            self._type = value
        elif name == "data":
            self._data.append(value)
        elif name == "id" and "\x00" not in value:
            self._id = value
        elif name == "retry" and value.isascii() and value.isdigit():
            self.retry = int(value)
        return None

    def _dispatch(self) -> Dispatched | None:
        self.last_event_id = self._id
        data, self._data = self._data, []
        kind, self._type = self._type, ""
        # Each line left its value and a line feed in the data buffer: that is empty only if no data line came.
        return Dispatched(kind or "message", "\n".join(data), self._id) if data else None


@dataclass
class EventSource:
    """One client: connects, reconnects with Last-Event-ID, and keeps all it was given."""

    http: httpx.AsyncClient
    url: str
    headers: dict[str, str] = field(default_factory=dict)
    last_event_id: str = ""
    events: list[Dispatched] = field(default_factory=list)
    times: list[float] = field(default_factory=list)  # when each of them came, by the monotonic clock
    raw: bytearray = field(default_factory=bytearray)
    connections: int = 0
    ends: int = 0
    statuses: list[int] = field(default_factory=list)
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def messages(self) -> list[str]:
        """The texts of all notifications so far, in order."""
        return [event.json["message"] for event in self.notifications]

    @property
    def notifications(self) -> list[Dispatched]:
        return [event for event in self.events if event.type == "message"]

    def of_type(self, kind: str) -> list[Dispatched]:
        return [event for event in self.events if event.type == kind]

    async def until(self, condition: Callable[[], bool], *, timeout: float = DEADLINE) -> None:
        """Wait for a state of this client."""
        async with asyncio.timeout(timeout), self._changed:
            await self._changed.wait_for(condition)

    async def live(self) -> int:
        """Wait for the greeting on the present connection; the position it tells."""
        greetings = len(self.of_type("hello"))
        if not greetings:
            await self.until(lambda: len(self.of_type("hello")) > greetings)
        return int(self.of_type("hello")[-1].json["seq"])

    async def receives(self, *messages: str, timeout: float = DEADLINE) -> None:
        """Wait until exactly these came, in this order."""
        with suppress(TimeoutError):
            await self.until(lambda: len(self.notifications) >= len(messages), timeout=timeout)
        assert self.messages == list(messages)

    async def run(self, *, again: bool = True) -> None:
        while True:
            with suppress(httpx.TransportError):
                await self._connect_once()
            async with self._changed:
                self.ends += 1
                self._changed.notify_all()
            if not again or self.statuses[-1:] not in ([200], []):
                return
            await asyncio.sleep(0.05)  # the reconnection time, shortened

    async def _connect_once(self) -> None:
        sent = self.headers | ({"Last-Event-ID": self.last_event_id} if self.last_event_id else {})
        headers = {name.encode(): value.encode() for name, value in sent.items()}
        async with self.http.stream("GET", self.url, headers=headers) as response:
            self.statuses.append(response.status_code)
            if response.status_code != 200:
                return
            self.connections += 1
            parser = Parser(self.last_event_id)
            async for chunk in response.aiter_raw():
                self.raw += chunk
                self.events += parser.feed(chunk)
                self.times += [time.monotonic()] * (len(self.events) - len(self.times))
                self.last_event_id = parser.last_event_id
                async with self._changed:
                    self._changed.notify_all()


@asynccontextmanager
async def open_stream(
    url: str, *, headers: dict[str, str] | None = None, last_event_id: str = "", reconnect: bool = True
) -> AsyncIterator[EventSource]:
    """A client that runs until the end of the block."""
    timeout = httpx.Timeout(None, connect=5)
    try:
        async with httpx.AsyncClient(timeout=timeout, trust_env=False) as http, asyncio.TaskGroup() as tasks:
            source = EventSource(http, url, headers or {}, last_event_id)
            running = tasks.create_task(source.run(again=reconnect), name="event source")
            try:
                yield source
            finally:
                while not running.done():
                    running.cancel()  # httpx may swallow one that comes together with the end of a connection
                    await asyncio.wait([running], timeout=1)
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None  # what the test itself raised
