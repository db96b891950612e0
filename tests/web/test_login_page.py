"""The inbox page where tokens are asked for: logging in with one, and every way to be logged out."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from itertools import count
from typing import Literal

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, Route, expect

from rowcast.embedded import Server
from tests.waiting import until
from tests.web.inbox import Inbox, chromium, forget_rows_for_everyone, inbox, insert
from tests.web.login import locked_web, token
from tests.web.test_inbox_access import LOWEST_CONTRAST, accessibility_tree

pytestmark = pytest.mark.asyncio(loop_scope="module")

_users: Iterator[int] = count(2**53 + 1_000_001, 2)


@pytest.fixture(scope="module")
def locked_url(web_url: str, database_url: str, valkey: Server) -> Iterator[str]:
    with locked_web(database_url, valkey.url) as url:
        yield url


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="module", autouse=True)
async def _alone(database_url: str) -> None:
    await forget_rows_for_everyone(database_url)


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser: Browser) -> AsyncIterator[Inbox]:
    """A page that is not open yet, in a profile that nobody is logged in with."""
    async with inbox(browser, next(_users)) as prepared:
        yield prepared


async def paste(page: Page, text: str) -> None:
    """Into the login that the page shows."""
    await expect(page.get_by_role("heading", name="Log in")).to_be_visible(timeout=15_000)
    await expect(page.get_by_label("Token")).to_be_focused()
    await page.get_by_label("Token").fill(text)
    await page.keyboard.press("Enter")


async def log_in(opened: Inbox, url: str, **claims: object) -> str:
    """Log in as its user; the token."""
    said = token(opened.user, **claims)  # type: ignore[arg-type]
    await opened.page.goto(url)
    await paste(opened.page, said)
    await opened.live()
    return said


async def test_a_token_opens_the_inbox_of_its_user_and_is_kept_nowhere(
    page: Inbox, locked_url: str, database_url: str
) -> None:
    await insert(database_url, page.user, ["before"])
    said = await log_in(page, f"{locked_url}/?user={page.user + 1}")
    await insert(database_url, page.user, ["after"])
    await page.shows("after", "before")
    await page.page.get_by_role("button", name="Mark as viewed: before").click()
    await page.counts(1)
    await expect(page.page.get_by_label("User", exact=True)).to_have_value(str(page.user))
    await expect(page.page.get_by_label("User", exact=True)).not_to_be_editable()
    await page.page.reload()
    await page.live()
    await page.shows("after", "before")

    assert [url for url in page.requests if said in url or "token" in url] == []
    kept = await page.page.evaluate(
        "[document.cookie, JSON.stringify(localStorage), JSON.stringify(sessionStorage), document.documentElement.outerHTML, location.href]"
    )
    assert [place for place in kept if said in place] == []
    [cookie] = await page.page.context.cookies()
    assert (cookie["name"], cookie["httpOnly"], cookie["secure"], cookie["sameSite"]) == (
        "__Host-rowcast",
        True,
        True,
        "Strict",
    )


async def test_who_signs_out_leaves_nothing_on_any_tab(page: Inbox, locked_url: str, database_url: str) -> None:
    await insert(database_url, page.user, ["private"])
    await log_in(page, locked_url)
    other = await page.page.context.new_page()
    await other.goto(locked_url)
    await expect(other.locator(".item .message")).to_have_text(["private"])
    await page.page.get_by_role("button", name="Sign out").click()
    for tab in (page.page, other):
        await expect(tab.get_by_label("Token")).to_be_focused()
        await expect(tab).to_have_title("Log in · Rowcast")
        assert "private" not in await tab.content()
    assert await page.page.evaluate("fetch('notifications?user_id=1').then((answer) => answer.status)") == 401
    assert await page.page.context.cookies() == []


@pytest.mark.slow
async def test_a_tab_is_cleared_by_a_sign_out_in_another_though_the_server_does_not_answer_it(
    page: Inbox, locked_url: str, database_url: str
) -> None:
    """Who signs out and walks away from a machine that others use must not wait for a question of the other tab."""
    await insert(database_url, page.user, ["private"])
    await log_in(page, locked_url)
    other = await page.page.context.new_page()
    await other.goto(locked_url)
    await expect(other.locator(".item .message")).to_have_text(["private"])
    asked = asyncio.Event()

    async def no_answer(_: Route) -> None:
        asked.set()

    await other.route("**/session", no_answer)
    await page.page.get_by_role("button", name="Sign out").click()
    await until(asked.is_set)
    await expect(other.get_by_label("Token")).to_be_focused(timeout=15_000)
    assert "private" not in await other.content()


@pytest.mark.slow
async def test_a_token_that_is_not_taken_is_told_why(page: Inbox, locked_url: str) -> None:
    await page.page.goto(locked_url)
    for wrong, words in (
        ("open sesame", "This is no token."),
        (token(page.user, key="k" * 64), "signature"),
        (token(page.user, ttl=-60), "expired"),
        (token(""), "user id"),
    ):
        await paste(page.page, wrong)
        await expect(page.page.get_by_role("alert").filter(has_text=words)).to_be_visible()
        assert await page.page.get_by_label("Token").get_attribute("aria-invalid") == "true"
    assert await page.page.context.cookies() == []
    await paste(page.page, f'  "Authorization: Bearer {token(page.user)}"\n')
    await page.live()


@pytest.mark.slow
async def test_a_service_that_is_no_user_has_no_inbox(page: Inbox, locked_url: str) -> None:
    await page.page.goto(locked_url)
    await paste(page.page, token(None, scope="send"))
    await expect(page.page.get_by_text("it names no user")).to_be_visible()
    await paste(page.page, token(page.user))
    await page.live()


@pytest.mark.slow
async def test_when_the_token_expires_the_page_says_so_and_asks_for_another(
    page: Inbox, locked_url: str, database_url: str
) -> None:
    await log_in(page, locked_url, ttl=12)
    await insert(database_url, page.user, ["private"])
    await page.shows("private")
    await expect(page.page.get_by_text("Your token has expired. Log in with a new one.")).to_be_visible(timeout=40_000)
    assert "private" not in await page.page.content()
    await insert(database_url, page.user, ["meanwhile"])
    await paste(page.page, token(page.user))
    await page.live()
    await page.shows("meanwhile", "private")
    await expect(page.page.get_by_text("Your token has expired")).to_be_hidden()


@pytest.mark.slow
async def test_who_is_revoked_is_signed_out_and_told_so(page: Inbox, locked_url: str, database_url: str) -> None:
    await insert(database_url, page.user, ["private"])
    await log_in(page, locked_url)
    await page.shows("private")
    header = {"Authorization": f"Bearer {token(1, scope='admin')}"}
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = await http.post(f"{locked_url}/revocations", json={"user": page.user}, headers=header)
    assert answer.is_success, answer.text
    await expect(page.page.get_by_text("You are signed out.")).to_be_visible(timeout=20_000)
    await expect(page.page.get_by_text("revoked")).to_be_visible()
    assert "private" not in await page.page.content()


@pytest.mark.slow
async def test_only_what_the_scopes_allow_is_offered(browser: Browser, locked_url: str, database_url: str) -> None:
    async with inbox(browser, next(_users)) as reader:
        await insert(database_url, reader.user, ["to be read"])
        await log_in(reader, locked_url, scope="read")
        await reader.shows("to be read")
        await expect(reader.page.get_by_role("button", name=re.compile("Mark"))).to_have_count(0)
        await expect(reader.page.get_by_label("Message")).to_be_hidden()
    async with inbox(browser, next(_users)) as sender:
        await log_in(sender, locked_url, scope="read send")
        await sender.page.get_by_label("Message").fill("sent from here")
        await sender.page.keyboard.press("Enter")
        await sender.shows("sent from here")


@pytest.mark.slow
async def test_who_logs_in_on_another_tab_is_shown_on_this_one(page: Inbox, locked_url: str, database_url: str) -> None:
    """The cookie is one for all tabs: a tab that went on showing the other user's rows would mark and send as this one."""
    other_user = next(_users)
    await insert(database_url, other_user, ["for the other"])
    await log_in(page, locked_url)
    other = await page.page.context.new_page()
    await other.goto(locked_url)
    await other.get_by_role("button", name="Sign out").click()
    await paste(other, token(other_user))
    await page.shows("for the other")
    await expect(page.page.get_by_label("User", exact=True)).to_have_value(str(other_user))


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_login_is_for_everybody(browser: Browser, locked_url: str, scheme: Literal["light", "dark"]) -> None:
    """Names for screen readers, contrast, a phone; and nothing that the page's policy forbids."""
    viewport = {"width": 320, "height": 640}
    async with inbox(browser, next(_users), color_scheme=scheme, viewport=viewport, has_touch=True) as page:
        await page.page.goto(locked_url)
        await paste(page.page, "no token")
        await expect(page.page.get_by_role("alert")).to_be_visible()
        nodes = await accessibility_tree(page.page)
        controls = [node["name"] for node in nodes if node["role"] in {"button", "link", "textbox"}]
        assert controls == ["Token", "Log in"]
        assert [node["name"] for node in nodes if node["role"] == "heading" and node["level"] == 1] == ["Log in"]
        contrast, where = await page.page.evaluate(LOWEST_CONTRAST)
        assert contrast >= 4.5, where
        assert await page.page.evaluate("document.documentElement.scrollWidth") == 320
        assert [line for line in page.console if "401" not in line] == []
        assert [url for url in page.requests if not url.startswith(f"{locked_url}/")] == []
