"""A person at the inbox page: a real Chromium, and the rows that somebody else inserts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import psycopg
import psycopg.sql
from playwright.async_api import Browser, BrowserContext, Locator, Page, async_playwright, expect

from tests.parts import require

CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@dataclass
class Inbox:
    """The open page of one user, with all that its browser asked for and complained of."""

    page: Page
    user: int
    requests: list[str] = field(default_factory=list)
    console: list[str] = field(default_factory=list)
    crashes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.console.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.crashes.append(str(error)))

    @property
    def items(self) -> Locator:
        return self.page.get_by_role("list", name="Notifications").get_by_role("listitem")

    @property
    def messages(self) -> Locator:
        return self.page.locator(".item .message")

    @property
    def badge(self) -> Locator:
        return self.page.locator("#badge")

    @property
    def connection(self) -> Locator:
        return self.page.locator("#connection")

    async def go(self, web_url: str) -> None:
        """Open the page and wait until its stream is live."""
        await self.page.goto(f"{web_url}/?user={self.user}")
        await self.live()

    async def live(self) -> None:
        await expect(self.connection).to_have_attribute("data-state", "live", timeout=15_000)

    async def shows(self, *messages: str) -> None:
        """Wait until the list is exactly these messages, the newest first."""
        await expect(self.messages).to_have_text(list(messages), timeout=15_000)

    async def counts(self, unread: int) -> None:
        """Wait until badge and title say so."""
        prefix = f"({unread:,}) " if unread else ""
        await expect(self.page).to_have_title(f"{prefix}Inbox · Rowcast", timeout=30_000)
        if unread:
            await expect(self.badge).to_have_text(f"{unread:,} unread")
        else:
            await expect(self.badge).to_be_hidden()


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """The machine's Chromium; without one the test is skipped, or fails where CI is set."""
    executable = require("chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=executable, args=CHROMIUM_ARGUMENTS)
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def inbox(browser: Browser, user: int, **options: Any) -> AsyncIterator[Inbox]:
    """A page in a browser profile of its own. Whatever a test does: no script of the page may fail."""
    context: BrowserContext = await browser.new_context(**options)
    try:
        opened = Inbox(await context.new_page(), user)
        yield opened
        assert opened.crashes == []
    finally:
        await context.close()


async def insert(database_url: str, user: int | None, messages: Sequence[str], **columns: object) -> None:
    """Insert rows as any SQL client does, one transaction for all of them."""
    names = ["user_id", "message", *columns]
    statement = psycopg.sql.SQL("INSERT INTO notifications ({}) VALUES ({})").format(
        psycopg.sql.SQL(", ").join(map(psycopg.sql.Identifier, names)),
        psycopg.sql.SQL(", ").join(psycopg.sql.Placeholder() * len(names)),
    )
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        await connection.cursor().executemany(statement, [[user, message, *columns.values()] for message in messages])


async def forget_rows_for_everyone(database_url: str) -> None:
    """Delete what other tests said to everyone: the users of this test would see it too."""
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        await connection.execute("DELETE FROM notifications WHERE user_id IS NULL")


@dataclass
class Cable:
    """A TCP proxy before the web server, to be cut: then new connections are refused. Or its streams fall silent unnoticed."""

    target: tuple[str, int]
    url: str = ""
    _server: asyncio.Server | None = None
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)
    _streams: list[asyncio.StreamWriter] = field(default_factory=list)

    async def plug(self) -> None:
        port = urlsplit(self.url).port or 0
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", port)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def cut(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        await self._server.wait_closed()

    def silence(self) -> None:
        """The open streams bring nothing any more and do not end, as after a laptop's sleep."""
        for writer in self._streams:
            assert isinstance(writer.transport, asyncio.Transport)
            writer.transport.pause_reading()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(*self.target)
        both = {writer, far_writer}
        self._writers |= both
        try:
            with suppress(ConnectionError):
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._pump(reader, far_writer), name="cable up")
                    group.create_task(self._pump(far_reader, writer), name="cable down")
        except* ConnectionError:
            pass
        finally:
            self._writers -= both
            for end in both:
                end.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while block := await reader.read(65536):
            if block.startswith(b"GET /events/"):
                self._streams.append(writer)
            writer.write(block)
            await writer.drain()
        writer.close()


@asynccontextmanager
async def cable(web_url: str) -> AsyncIterator[Cable]:
    """A plugged-in cable to that server; its `url` is what the browser is given."""
    parts = urlsplit(web_url)
    assert parts.hostname is not None
    assert parts.port is not None
    opened = Cable((parts.hostname, parts.port))
    await opened.plug()
    try:
        yield opened
    finally:
        await opened.cut()
