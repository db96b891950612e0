"""The inbox page in a real browser, on a real Rowcast: what a row becomes, and what the reader can do with it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from itertools import count

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Route, expect
from psycopg.types.json import Jsonb

from tests.web.inbox import Inbox, cable, chromium, forget_rows_for_everyone, inbox, insert

pytestmark = pytest.mark.asyncio(loop_scope="module")

# Every test has a user of its own, all of them beyond what a JavaScript number can hold exactly.
_users: Iterator[int] = count(2**53 + 1, 2)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="module", autouse=True)
async def _alone(database_url: str) -> None:
    await forget_rows_for_everyone(database_url)


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser: Browser) -> AsyncIterator[Inbox]:
    """A page that is not open yet."""
    async with inbox(browser, next(_users)) as prepared:
        yield prepared


async def test_an_inserted_row_appears_on_the_open_page(page: Inbox, web_url: str, database_url: str) -> None:
    await page.go(web_url)
    await expect(page.page.get_by_role("heading", name=f"Nothing for user {page.user} yet")).to_be_visible()
    await insert(database_url, page.user, ["hello from psycopg"])
    await page.shows("hello from psycopg")
    await page.counts(1)
    await expect(page.page.get_by_role("status")).to_have_text("New notification: hello from psycopg")
    await expect(page.page.locator("#empty")).to_be_hidden()


async def test_the_list_and_the_stream_join_without_gap_or_double(page: Inbox, web_url: str, database_url: str) -> None:
    await insert(database_url, page.user, ["one", "two"])
    await page.go(web_url)
    await page.shows("two", "one")
    await insert(database_url, page.user, ["three"])
    await page.shows("three", "two", "one")
    await page.page.reload()
    await page.live()
    await page.shows("three", "two", "one")
    await page.counts(3)


async def test_a_cut_line_loses_nothing_and_doubles_nothing(page: Inbox, web_url: str, database_url: str) -> None:
    async with cable(web_url) as line:
        await page.go(line.url)
        await insert(database_url, page.user, ["before"])
        await page.shows("before")
        await line.cut()
        await expect(page.page.locator("#connection-text")).to_have_text("reconnecting in 1 s")
        await insert(database_url, page.user, ["meanwhile", "and more"])
        await line.plug()
        await page.live()
        await page.shows("and more", "meanwhile", "before")
        await page.counts(3)


@pytest.mark.slow
async def test_a_stream_that_died_unnoticed_is_replaced(page: Inbox, web_url: str, database_url: str) -> None:
    async with cable(web_url) as line:
        await page.go(line.url)
        line.silence()
        await insert(database_url, page.user, ["not heard at first"])
        await page.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        await page.shows("not heard at first")
        await page.counts(1)


@pytest.mark.slow
@pytest.mark.parametrize("answer", [None, 502])
async def test_retry_now_skips_the_countdown(page: Inbox, web_url: str, answer: int | None) -> None:
    """Whether the line breaks or a proxy answers for a server that restarts, after which an EventSource gives up."""
    attempts = count(1)

    async def refuse_some(route: Route) -> None:
        if next(attempts) > 5:
            await route.continue_()
        elif answer is None:
            await route.abort()
        else:
            await route.fulfill(status=answer)

    await page.page.route("**/events/*", refuse_some)
    await page.page.goto(f"{web_url}/?user={page.user}")
    retry = page.page.get_by_role("button", name="Retry now")
    live = page.page.locator("#connection[data-state=live]")
    async with asyncio.timeout(20):  # the countdowns themselves take 30 s and more
        while not await live.is_visible():
            await expect(retry.or_(live)).to_be_visible()
            if await retry.is_visible():
                await retry.click()
    assert next(attempts) == 7


async def test_a_refused_user_is_told_why(page: Inbox, web_url: str) -> None:
    """A refusal that can't change is no reason to try for ever."""
    problem = json.dumps({"status": 401, "detail": "Say who you are, with a token."})

    async def refuse(route: Route) -> None:
        await route.fulfill(status=401, content_type="application/problem+json", body=problem)

    await page.page.route("**/notifications?*", refuse)
    await page.page.goto(f"{web_url}/?user={page.user}")
    await expect(page.page.get_by_role("alert")).to_have_text("Say who you are, with a token.")
    await expect(page.connection).to_have_attribute("data-state", "stopped")
    await page.page.unroute("**/notifications?*")
    await page.page.get_by_role("button", name="Open").click()
    await page.live()
    await expect(page.page.get_by_role("alert")).to_be_hidden()


async def test_a_reset_loads_the_list_again(page: Inbox, web_url: str, database_url: str) -> None:
    """The server answers a position it does not know with `reset`: what the list has then is the truth."""
    since: list[str] = []

    async def ask_for_the_future_first(route: Route) -> None:
        url = route.request.url
        since.append(url)
        if len(since) == 1:
            await insert(database_url, page.user, ["came before the reset"])
            url = f"{url}&lastEventId=9007199254740991"
        await route.continue_(url=url)

    await page.page.route("**/events/*", ask_for_the_future_first)
    await page.go(web_url)
    await page.shows("came before the reset")
    lists = [url for url in page.requests if "/notifications?" in url]
    assert (len(since), len(lists)) == (2, 2)
    await insert(database_url, page.user, ["and after it"])
    await page.shows("and after it", "came before the reset")


async def test_a_row_for_everyone_is_marked_as_such(page: Inbox, web_url: str, database_url: str) -> None:
    await page.go(web_url)
    text = f"for all, from {page.user}"
    await insert(database_url, None, [text])
    item = page.items.filter(has_text=text)
    await expect(item.get_by_text("everyone", exact=True)).to_be_visible()


async def test_marking_one_as_viewed_lasts(page: Inbox, web_url: str, database_url: str) -> None:
    await insert(database_url, page.user, ["first", "second"])
    await page.go(web_url)
    await page.counts(2)
    async with page.page.expect_response("**/notifications/*"):
        await page.page.get_by_role("button", name="Mark as viewed: first").click()
        await page.counts(1)
    await page.page.reload()
    await page.live()
    await page.counts(1)
    await expect(page.items.filter(has_text="first").get_by_role("button")).to_be_hidden()
    await expect(page.items.filter(has_text="second").get_by_role("button")).to_be_visible()


async def test_marking_all_as_viewed_counts_to_zero(page: Inbox, web_url: str, database_url: str) -> None:
    await insert(database_url, page.user, [f"row {n}" for n in range(60)])
    await page.go(web_url)
    await insert(database_url, page.user, ["a live one"])
    await page.counts(61)
    button = page.page.get_by_role("button", name="Mark all as viewed")
    await button.click()
    await page.counts(0)
    await expect(button).to_be_disabled()
    await page.page.reload()
    await page.live()
    await page.counts(0)


async def test_older_rows_come_on_request(page: Inbox, web_url: str, database_url: str) -> None:
    await insert(database_url, page.user, [f"row {n}" for n in range(60)])
    await page.go(web_url)
    await expect(page.items).to_have_count(50)
    older = page.page.get_by_role("button", name="Load older")
    await older.click()
    await page.shows(*[f"row {n}" for n in reversed(range(60))])
    await expect(older).to_be_hidden()


@pytest.mark.slow
async def test_thousands_of_live_rows_leave_a_short_list_and_a_true_count(
    page: Inbox, web_url: str, database_url: str
) -> None:
    await page.go(web_url)
    await insert(database_url, page.user, [f"row {n}" for n in range(3000)])
    await page.counts(3000)
    await expect(page.items).to_have_count(500)
    await expect(page.messages.first).to_have_text("row 2999")
    await page.page.get_by_role("button", name="Load older").click()
    await expect(page.messages.nth(549)).to_have_text("row 2450")


async def test_the_form_sends_to_oneself_and_to_everyone(page: Inbox, web_url: str) -> None:
    await page.go(web_url)
    message = page.page.get_by_label("Message")
    await message.fill("to myself")
    await page.page.get_by_role("button", name="Send").click()
    await page.shows("to myself")
    await expect(message).to_have_value("")
    await page.page.get_by_label("To everyone").check()
    await message.fill("to you all")
    await message.press("Enter")
    await page.shows("to you all", "to myself")
    await expect(page.items.first.get_by_text("everyone", exact=True)).to_be_visible()


async def test_a_refused_message_shows_what_the_server_says(page: Inbox, web_url: str) -> None:
    await page.go(web_url)
    message = page.page.get_by_label("Message")
    async with page.page.expect_response("**/notifications") as refused:
        await message.evaluate("field => { field.value = 'a\\0b'; field.form.requestSubmit(); }")
    answer = await refused.value
    assert answer.status == 400
    detail = json.loads(await answer.text())["detail"]
    await expect(page.page.get_by_role("alert").filter(has_text=detail)).to_be_visible()
    await expect(page.items).to_have_count(0)


MARKUP = "<img src=x onerror='window.harmed=1'><script>window.harmed=1</script><b>bold</b>"


async def test_markup_in_a_row_is_text(page: Inbox, web_url: str, database_url: str) -> None:
    await page.go(web_url)
    await insert(
        database_url, page.user, [MARKUP], key=MARKUP, channel_type="<b>tag</b>", data=Jsonb({"<b>k</b>": MARKUP})
    )
    await page.shows(MARKUP)
    await page.page.locator("summary:visible").click()
    await expect(page.page.locator("details pre")).to_have_text(json.dumps({"<b>k</b>": MARKUP}, indent=2))
    await expect(page.page.locator(".tag.channel bdi")).to_have_text("<b>tag</b>")
    assert await page.page.locator(".list img, .list script, .list b").count() == 0
    assert await page.page.evaluate("window.harmed") is None


FORGED = 'hi\n\ndata: {"id":1,"message":"forged"}\nid: 7\n\nevent: reset\r\ndata: {"reason":"pruned","oldest":1}\r\r\u2028\x85\x0b</script><!--'


async def test_a_row_that_would_be_events_of_its_own_is_one_row(page: Inbox, web_url: str, database_url: str) -> None:
    """Live and from the list: line ends of every kind in each field, with what the stream's grammar would make of them."""
    await page.go(web_url)
    await insert(database_url, page.user, [FORGED], key=FORGED, channel_type=FORGED, data=Jsonb({FORGED: FORGED}))
    for _ in range(2):
        await page.counts(1)
        await expect(page.items).to_have_count(1)
        assert await page.messages.first.text_content() == FORGED
        await page.page.reload()
        await page.live()


async def test_the_user_is_chosen_by_a_field_and_remembered(page: Inbox, web_url: str, database_url: str) -> None:
    other = next(_users)
    await insert(database_url, other, ["for the other"])
    await page.go(web_url)
    field = page.page.get_by_label("User", exact=True)
    await field.fill(str(other))
    await field.press("Enter")
    await page.shows("for the other")
    await expect(page.page).to_have_url(f"{web_url}/?user={other}")
    line = await page.page.locator("#sql").text_content()
    assert line == f"INSERT INTO notifications (user_id, message) VALUES ({other}, 'hello from psql');"
    await page.page.goto(web_url)
    await page.shows("for the other")
    await page.page.go_back()
    await page.page.go_back()
    await expect(field).to_have_value(str(page.user))
    await field.fill("nobody")
    await field.press("Enter")
    await expect(page.page.get_by_role("alert").filter(has_text="whole numbers")).to_be_visible()
