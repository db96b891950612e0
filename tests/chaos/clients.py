"""Tens of EventSource clients in a process of their own: `python -m tests.chaos.clients CONFIG`, until its standard input ends.
Told to stay, those that are away come back, and nobody leaves any more.

Each is a browser's EventSource (the algorithm of `tests.event_source`): it reconnects with its Last-Event-ID, to any of the web processes.
Some begin late, some read all history, some leave in the middle of an event and come back.
"""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import httpx

from core.clock import happens
from tests.chaos.ending import words
from tests.chaos.records import Got, Notebook, Turn, content_of, now
from tests.chaos.texts import SECRET
from tests.event_source import Dispatched, Parser

STAY = "stay"
_SECRET = SECRET.encode()


@dataclass(frozen=True, slots=True)
class ClientsConfig:
    """What the clients are told, as JSON. `quiet`: seconds without a byte after which one gives its connection up; `seconds`: of the run;
    `leavers`: the share of clients that come and go."""

    seed: int
    urls: list[str]
    users: list[int]
    canary: int
    book: str
    seconds: float
    clients: int = 36
    quiet: float = 8.0
    leavers: float = 0.3


class Client:
    """One client and its plans: where it starts, when it comes and when it is away."""

    def __init__(
        self, number: int, config: ClientsConfig, book: Notebook, http: httpx.AsyncClient, staying: asyncio.Event
    ) -> None:
        rng = self._rng = Random(f"{config.seed} client {number}")
        self.name = f"c{number}"
        self._config = config
        self._book = book
        self._http = http
        self._staying = staying
        self.canary = number == 0
        self.user = config.canary if self.canary else config.users[number % len(config.users)]
        self.since = rng.choice(["unread", "all", "now"])
        self.starts = 0.0 if rng.random() < 0.7 else rng.uniform(0, config.seconds * 0.6)
        self._leaves = rng.random() < config.leavers
        self._parser = Parser()
        self._tail = b""

    async def run(self) -> None:
        """Live for ever."""
        await happens(self._staying, self.starts)
        while True:
            stay = self._rng.uniform(5, 30) if self._leaves and not self._staying.is_set() else None
            try:
                async with asyncio.timeout(stay):
                    await self._stay_connected()
            except TimeoutError:
                self._turn("left")
                await happens(self._staying, self._rng.uniform(0.1, 8))

    async def _stay_connected(self) -> None:
        while True:
            url = self._rng.choice(self._config.urls)
            try:
                await self._connect_once(url)
                self._turn("ended", url)
            except httpx.HTTPError as error:
                self._turn("ended", url, type(error).__name__)
            await asyncio.sleep(self._rng.uniform(0.05, 0.5))  # the reconnection time, shortened

    async def _connect_once(self, url: str) -> None:
        last = self._parser.last_event_id
        headers = {"Last-Event-ID": last} if last else {}
        address = f"{url}/events/{self.user}?since={self.since}"
        async with self._http.stream("GET", address, headers=headers) as response:
            if response.status_code != httpx.codes.OK:
                self._turn("refused", url, str(response.status_code))
                return
            self._turn("opened", url, last)
            self._parser, self._tail = Parser(last), b""
            async for chunk in response.aiter_raw():
                self._watch_for_secrets(chunk)
                for event in self._parser.feed(chunk):
                    self._note(got(event))

    def _watch_for_secrets(self, chunk: bytes) -> None:
        if not self.canary:
            if _SECRET in self._tail + chunk:
                self._turn("leaked", detail="the canary's secret")
            self._tail = (self._tail + chunk)[-len(_SECRET) :]

    def _turn(self, what: str, url: str = "", detail: str = "") -> None:
        self._note(Turn(now(), what, url, detail))

    def _note(self, line: Got | Turn) -> None:
        self._book.note(line, client=self.name, of=self.user, since=self.since, canary=self.canary)


def got(event: Dispatched) -> Got:
    """What is kept of an event."""
    if not event.last_event_id.isdigit():
        return Got(now(), f"without a position: {event.type} {event.last_event_id[:80]!r}", -1)
    seq, said = int(event.last_event_id), _json(event.data)
    match event.type:
        case "message":
            return Got(now(), "message", seq, str(said.get("key")), said.get("user_id"), _content(said))
        case "reset":
            return Got(now(), "reset", seq, reason=str(said.get("reason")))
        case kind:
            return Got(now(), kind, seq)


def _json(text: str) -> dict[str, Any]:
    """The object that was said; what is none says nothing, and is found out by its content."""
    with suppress(ValueError):
        said = json.loads(text)
        if isinstance(said, dict):
            return said
    return {}


def _content(said: dict[str, Any]) -> str:
    return content_of(said.get(name) for name in ("id", "user_id", "key", "message", "channel_type", "data"))


async def main(config: ClientsConfig) -> None:
    """Listen until standard input ends."""
    timeout = httpx.Timeout(5, read=config.quiet)
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    staying = asyncio.Event()
    with Notebook(Path(config.book)) as book:
        async with httpx.AsyncClient(timeout=timeout, limits=limits, trust_env=False) as http:
            everyone = [Client(number, config, book, http, staying) for number in range(config.clients)]
            tasks = [asyncio.ensure_future(client.run()) for client in everyone]
            told = asyncio.ensure_future(_hear(staying))
            await asyncio.wait([told, *tasks], return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result  # a client that broke is a fault of the rig, and must be heard of


async def _hear(staying: asyncio.Event) -> None:
    async for word in words():
        if word == STAY:
            staying.set()


if __name__ == "__main__":
    asyncio.run(main(ClientsConfig(**json.loads(sys.argv[1]))))
