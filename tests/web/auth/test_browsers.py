"""Chromium, and a real web process with auth jwt: what a cookie is good for, and for whose pages."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.rig import Rig
from tests.web.auth.minting import SECRET, token
from tests.web.inbox import chromium, inbox

pytestmark = pytest.mark.slow

LOG_IN = """async (token) => {
  const answer = await fetch("/session", { method: "POST", headers: { Authorization: `Bearer ${token}` } });
  return [answer.status, document.cookie];
}"""
FOLLOW = """(url) => new Promise((resolve) => {
  const source = new EventSource(url, { withCredentials: true });
  source.addEventListener("hello", () => resolve("open"));
  source.addEventListener("error", () => { if (source.readyState === EventSource.CLOSED) resolve("refused"); });
})"""
SEND = """async ([url, mode, token]) => {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  try {
    const answer = await fetch(url, { method: "PATCH", mode, headers: { "Content-Type": "application/json", ...headers },
      credentials: "include", body: '{"is_viewed":true}' });
    return answer.status;
  } catch { return "refused"; }
}"""


@asynccontextmanager
async def elsewhere() -> AsyncIterator[str]:
    """Another site, one empty page: its origin."""

    async def page(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    made = socket.create_server(("127.0.0.1", 0))
    server = await asyncio.start_server(page, sock=made)
    try:
        yield f"http://127.0.0.1:{made.getsockname()[1]}"
    finally:
        server.close()


async def test_a_session_serves_a_plain_event_source_of_our_page_and_of_no_other(own: Rig) -> None:
    await own.bridge()
    scopes = token({"sub": "1", "scope": "read view send"})
    async with elsewhere() as friend, elsewhere() as stranger, chromium() as browser, inbox(browser, 1) as opened:
        url, _ = await own.web("--auth", "jwt", jwt_key=SECRET, cors_origins=friend)
        page = opened.page

        async def run(script: str, argument: Any) -> Any:
            async with asyncio.timeout(20):
                return await page.evaluate(script, argument)

        await page.goto(f"{url}/docs")
        assert await run(LOG_IN, scopes) == [200, ""]  # HttpOnly: no script sees it
        assert await run(FOLLOW, f"{url}/events/1") == "open"
        assert await run(FOLLOW, f"{url}/events/2") == "refused"
        assert await run(SEND, ["/notifications/1", "same-origin", ""]) == 404
        assert opened.console
        assert all("403" in line or "404" in line for line in opened.console)

        await page.goto(stranger)
        assert await run(FOLLOW, f"{url}/events/1") == "refused"
        assert await run(SEND, [f"{url}/notifications/1", "cors", ""]) == "refused"
        assert await run(SEND, [f"{url}/notifications/1", "cors", scopes]) == "refused"

        await page.goto(friend)
        assert await run(FOLLOW, f"{url}/events/1") == "open"  # of the same site, so that the cookie goes along
        assert await run(SEND, [f"{url}/notifications/1", "cors", scopes]) == 404


@pytest.mark.parametrize("path", ["/", "/docs"])
async def test_pages_keep_to_their_own_policy(own: Rig, path: str) -> None:
    """What it forbids, a console would tell."""
    await own.bridge()
    url, _ = await own.web()
    async with chromium() as browser, inbox(browser, 1) as opened:
        await opened.page.goto(url + path)
        await opened.page.wait_for_load_state("load")
        if path == "/":
            await opened.live()
        assert opened.console == []
        blocked = await opened.page.evaluate(
            "() => { try { document.body.innerHTML = '<p>'; return false; } catch { return true; } }"
        )
        assert blocked, "no text becomes markup"
