"""The inbox page for everybody: keyboard, screen reader, phone, dark and light; and nothing from other hosts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import count
from typing import Any, Literal

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect
from psycopg.types.json import Jsonb

from tests.web.inbox import chromium, forget_rows_for_everyone, inbox, insert

pytestmark = pytest.mark.asyncio(loop_scope="module")

_users = count(1_000_001)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="module", autouse=True)
async def _alone(database_url: str) -> None:
    await forget_rows_for_everyone(database_url)


async def fill(database_url: str, user: int) -> None:
    """One notification with all that a row may have, one long word, one plain."""
    await insert(database_url, user, ["with all"], key="a/key", channel_type="status", data=Jsonb({"a": [1, None]}))
    await insert(database_url, user, ["long" * 200, "plain"])
    await insert(database_url, None, ["for everyone"])


async def test_everything_is_reached_by_keyboard(browser: Browser, web_url: str, database_url: str) -> None:
    async with inbox(browser, next(_users)) as page:
        await insert(database_url, page.user, ["below", "above"])
        await page.go(web_url)
        await page.page.keyboard.press("Tab")
        await expect(page.page.get_by_role("link", name="Skip to the notifications")).to_be_focused()
        await page.page.keyboard.press("Enter")
        for name in ("Mark all as viewed", "Mark as viewed: above"):
            await page.page.keyboard.press("Tab")
            await expect(page.page.get_by_role("button", name=name)).to_be_focused()
        await page.page.keyboard.press("Enter")
        await page.counts(1)
        await expect(page.page.get_by_role("button", name="Mark as viewed: below")).to_be_focused()
        await page.page.keyboard.press("Space")
        await page.counts(0)
        await expect(page.items.last).to_be_focused()
        for _ in range(3):
            await page.page.keyboard.press("Tab")
        await expect(page.page.get_by_label("Message")).to_be_focused()
        await page.page.keyboard.type("typed")
        await page.page.keyboard.press("Enter")
        await page.shows("typed", "above", "below")


async def test_everything_has_a_name_and_a_place(browser: Browser, web_url: str, database_url: str) -> None:
    async with inbox(browser, next(_users)) as page:
        await fill(database_url, page.user)
        await page.go(web_url)
        nodes = await accessibility_tree(page.page)
    controls = [node for node in nodes if node["role"] in {"button", "checkbox", "link", "list", "textbox"}]
    assert len(controls) > 10
    assert [node for node in controls if not node["name"]] == []
    roles = [node["role"] for node in nodes]
    assert [roles.count(role) for role in ("banner", "main", "complementary")] == [1, 1, 1]
    assert [node["name"] for node in nodes if node["role"] == "heading" and node["level"] == 1] == ["Inbox 4 unread"]


async def accessibility_tree(page: Page) -> list[dict[str, Any]]:
    """Role, name and heading level of all that Chromium shows to a screen reader."""
    session = await page.context.new_cdp_session(page)
    tree = await session.send("Accessibility.getFullAXTree")
    return [
        {
            "role": node.get("role", {}).get("value"),
            "name": node.get("name", {}).get("value"),
            "level": next((p["value"]["value"] for p in node.get("properties", []) if p["name"] == "level"), None),
        }
        for node in tree["nodes"]
        if not node["ignored"]
    ]


async def test_nothing_comes_from_other_hosts_and_the_console_is_silent(
    browser: Browser, web_url: str, database_url: str
) -> None:
    async with inbox(browser, next(_users)) as page:
        await fill(database_url, page.user)
        await page.go(web_url)
        await page.page.get_by_role("button", name="Copy").click()
        await page.page.get_by_label("Message").fill("sent")
        await page.page.get_by_role("button", name="Send").click()
        await expect(page.messages.first).to_have_text("sent")
        await page.page.get_by_role("button", name="Mark all as viewed").click()
        await page.counts(0)
        assert {f"{web_url}/static/{name}" for name in ("inbox.js", "inbox.css", "stream.js")} <= set(page.requests)
        assert [url for url in page.requests if not url.startswith(f"{web_url}/")] == []
        assert page.console == []


# The lowest contrast of any text on the page with what is painted below it (WCAG 2.2, 1.4.3: at least 4.5).
LOWEST_CONTRAST = """() => {
  const channel = (value) => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const numbers = (color) => color.match(/[\\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const below = (element) => {
    const color = numbers(getComputedStyle(element).backgroundColor);
    return color[3] === 0 ? below(element.parentElement) : color;
  };
  const shown = (element) => element.checkVisibility() && !element.closest(":disabled, .visually-hidden, .skip");
  const hasText = (element) => [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  const contrasts = [...document.body.querySelectorAll("*")].filter((e) => shown(e) && hasText(e)).map((element) => {
    const [low, high] = [luminance(numbers(getComputedStyle(element).color)), luminance(below(element))].sort();
    return [(high + 0.05) / (low + 0.05), element.outerHTML.slice(0, 80)];
  });
  return contrasts.sort((a, b) => a[0] - b[0])[0];
}"""


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_text_stands_out_in_both_colour_schemes(
    browser: Browser, web_url: str, database_url: str, scheme: Literal["light", "dark"]
) -> None:
    async with inbox(browser, next(_users), color_scheme=scheme, reduced_motion="reduce") as page:
        await fill(database_url, page.user)
        await page.go(web_url)
        await page.page.get_by_role("button", name="Mark as viewed: plain").click()
        contrast, where = await page.page.evaluate(LOWEST_CONTRAST)
        assert contrast >= 4.5, where


async def test_a_phone_needs_no_sideways_scrolling(browser: Browser, web_url: str, database_url: str) -> None:
    async with inbox(browser, next(_users), viewport={"width": 320, "height": 640}, has_touch=True) as page:
        await fill(database_url, page.user)
        await page.go(web_url)
        await page.page.locator("summary:visible").click()
        await page.page.get_by_role("button", name="Show all of it").click()
        assert await page.page.evaluate("document.documentElement.scrollWidth") == 320
        targets = page.page.locator("button:visible")
        sizes = [await target.bounding_box() for target in await targets.all()]
        assert min(size["width"] for size in sizes if size) >= 24


async def test_ids_are_written_exactly_in_sql_and_json(browser: Browser, web_url: str) -> None:
    expected = {
        "bigint": ("9223372036854775807", "9223372036854775807", "9223372036854775807"),
        "uuid": ("A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",) + ("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",) * 2,
        "text": ('o\'brien "x"', "o''brien \"x\"", 'o\'brien \\"x\\"'),
    }
    write = """async ([type, id]) => {
      const { UserIds } = await import(new URL("static/user_ids.js", document.baseURI));
      const ids = new UserIds(type);
      const user = ids.canonical(id);
      return [ids.accepts(id), ids.sql(user), ids.json(user)];
    }"""
    async with inbox(browser, next(_users)) as page:
        await page.go(web_url)
        for kind, (given, sql, json) in expected.items():
            quote, double = ("", "") if kind == "bigint" else ("'", '"')
            written = await page.page.evaluate(write, [kind, given])
            assert written == [True, f"{quote}{sql}{quote}", f"{double}{json}{double}"]


async def test_delays_grow_are_spread_and_end_at_half_a_minute(browser: Browser, web_url: str) -> None:
    delays = """async () => {
      const { delayAfter } = await import(new URL("static/stream.js", document.baseURI));
      return [[1, 0], [1, 1], [2, 1], [3, 1], [40, 0], [40, 1]].map(([n, chance]) => delayAfter(n, () => chance));
    }"""
    async with inbox(browser, next(_users)) as page:
        await page.go(web_url)
        assert await page.page.evaluate(delays) == [1000, 2000, 4000, 8000, 15_000, 30_000]


async def test_times_are_said_as_people_say_them(browser: Browser, web_url: str) -> None:
    say = """async () => {
      const { relativeTime } = await import(new URL("static/format.js", document.baseURI));
      return [-60, 3, 59, 180, 7200, 90000, 500000].map((seconds) => relativeTime(1e12 - seconds * 1e3, 1e12));
    }"""
    said = ["just now", "just now", "59 seconds ago", "3 minutes ago", "2 hours ago", "yesterday", "5 days ago"]
    async with inbox(browser, next(_users)) as page:
        await page.go(web_url)
        assert await page.page.evaluate(say) == said
