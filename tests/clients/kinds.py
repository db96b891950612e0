"""Five clients that know nothing of each other; each runs until the end of its block and keeps the texts it was given."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

import httpx
from httpx_sse import aconnect_sse

from tests.clients import SCRIPT, installed
from tests.event_source import open_stream
from tests.parts import require
from tests.waiting import running
from tests.web.inbox import chromium, inbox


class Client(Protocol):
    """What one client was given: the texts of its messages, in order."""

    @property
    def messages(self) -> list[str]: ...


@dataclass
class _Noted:
    messages: list[str] = field(default_factory=list)


Kind: TypeAlias = Callable[[str, str], AbstractAsyncContextManager[Client]]


@asynccontextmanager
async def by_the_standard(site: str, path: str) -> AsyncIterator[Client]:
    """The tests' own EventSource."""
    async with open_stream(site + path) as stream:
        yield stream


@asynccontextmanager
async def httpx_sse(site: str, path: str) -> AsyncIterator[Client]:
    """httpx-sse leaves it to its user to reconnect: with the id of the last event it gave."""
    client = _Noted()
    async with httpx.AsyncClient(timeout=None, trust_env=False) as http, running(_read(http, site + path, client)):
        yield client


async def _read(http: httpx.AsyncClient, url: str, client: _Noted) -> None:
    last = ""
    while True:
        with suppress(httpx.TransportError):
            async with aconnect_sse(http, "GET", url, headers={"Last-Event-ID": last} if last else {}) as source:
                async for event in source.aiter_sse():
                    # It gives a block of only `retry:` or `id:` too, as a message without data; before the first id of a connection its id is "".
                    last = event.id or last
                    if event.event == "message" and event.data:
                        client.messages.append(json.loads(event.data)["message"])


@asynccontextmanager
async def browser(site: str, path: str) -> AsyncIterator[Client]:
    """`new EventSource` in Chromium."""
    client = _Noted()

    def got(message: str) -> None:
        client.messages.append(message)

    async with chromium() as program, inbox(program, 1) as opened:
        await opened.page.expose_function("got", got)
        await opened.page.goto(f"{site}/healthz")
        await opened.page.evaluate(
            "path => { window.source = new EventSource(path);"
            " window.source.onmessage = event => window.got(JSON.parse(event.data).message); }",
            path,
        )
        yield client


@asynccontextmanager
async def eventsource(site: str, path: str) -> AsyncIterator[Client]:
    """The package eventsource of npm."""
    async with _npm("eventsource", site + path) as client:
        yield client


@asynccontextmanager
async def fetch_event_source(site: str, path: str) -> AsyncIterator[Client]:
    """The package @microsoft/fetch-event-source of npm."""
    async with _npm("fetch-event-source", site + path) as client:
        yield client


@asynccontextmanager
async def _npm(package: str, url: str) -> AsyncIterator[Client]:
    client = _Noted()
    folder = await asyncio.to_thread(installed)
    process = await asyncio.create_subprocess_exec(
        *(require("node"), SCRIPT, package, url),
        env={**os.environ, "CLIENTS": str(folder)},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        async with running(_listen(process, client)):
            yield client
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _listen(process: asyncio.subprocess.Process, client: _Noted) -> None:
    assert process.stdout is not None
    async for line in process.stdout:
        client.messages.append(json.loads(line)["message"])
    raise AssertionError("the client ended by itself")
