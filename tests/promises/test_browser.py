"""The main job as a person sees it: a real browser, and a web process that dies under it."""

from __future__ import annotations

import json

import pytest

from tests.rig import Rig, free_port
from tests.waiting import until
from tests.web.inbox import chromium, inbox

_LISTEN = """() => {
    Object.assign(window, {got: [], ends: [], live: false, source: new EventSource('/events/1')});
    window.source.onmessage = event => window.got.push(JSON.parse(event.data).message);
    window.source.onerror = () => window.ends.push(performance.now());
    window.source.addEventListener('hello', () => { window.live = true; });
}"""


async def test_a_reload_and_a_killed_web_process_lose_nothing_and_double_nothing(own: Rig) -> None:
    await own.bridge()
    port = free_port()
    url, web = await own.web(port=port)
    async with chromium() as browser, inbox(browser, 1) as page:
        await page.go(url)
        await own.insert(1, "before")
        await page.shows("before")
        await web.kill()
        await own.insert(1, "while the server was dead")
        _, web = await own.web(port=port)
        await page.shows("while the server was dead", "before")
        await own.insert(1, "after")
        await page.shows("after", "while the server was dead", "before")
        await page.page.reload()
        await page.live()
        await page.shows("after", "while the server was dead", "before")


@pytest.mark.slow
async def test_a_plain_event_source_resumes_by_itself(own: Rig) -> None:
    """`new EventSource(...)` and nothing else, over the death of the server."""
    await own.bridge()
    port = free_port()
    url, web = await own.web(port=port)
    async with chromium() as browser, inbox(browser, 1) as opened:
        page = opened.page
        await page.goto(f"{url}/healthz")
        await page.evaluate(
            "() => { window.got = []; window.source = new EventSource('/events/1');"
            " window.source.onmessage = event => window.got.push(JSON.parse(event.data).message);"
            " window.source.addEventListener('hello', () => { window.live = true; }); }"
        )
        await page.wait_for_function("window.live === true")
        await own.insert(1, "one")
        await page.wait_for_function("window.got.length === 1")
        await web.kill()
        await own.insert(1, "two")
        await own.web(port=port)
        await own.insert(1, "three")
        await page.wait_for_function("window.got.length >= 3", timeout=15_000)
        assert await page.evaluate("JSON.stringify(window.got)") == json.dumps(
            ["one", "two", "three"], separators=(",", ":")
        )


@pytest.mark.slow
async def test_an_event_source_over_the_cap_comes_back_by_itself_and_misses_nothing(own: Rig) -> None:
    """Each attempt ends at once and is no failure for good; the next one is later than usual, as it was told."""
    await own.bridge()
    url, _ = await own.web(streams_per_user="1")
    async with chromium() as browser, inbox(browser, 1) as first, inbox(browser, 1) as second:
        for each in (first, second):
            await each.page.goto(f"{url}/healthz")
        await first.page.evaluate(_LISTEN)
        await first.page.wait_for_function("window.live === true")
        await second.page.evaluate(_LISTEN)
        await second.page.wait_for_function("window.ends.length >= 3")
        assert await second.page.evaluate("[window.live, window.source.readyState === EventSource.CLOSED]") == [
            False,
            False,
        ]
        pauses = await second.page.evaluate("window.ends.slice(1).map((end, before) => end - window.ends[before])")
        # Four times the least that a retry of 0.1 s comes to; untold, Chromium waits 3 s.
        assert 4 * 50 <= min(pauses) < 3000
        await own.insert(1, "one", "two")
        await first.page.wait_for_function("window.got.length === 2")
        await first.page.evaluate("window.source.close()")
        await second.page.wait_for_function("window.got.length >= 2")
        await own.insert(1, "three")
        await second.page.wait_for_function("window.got.length >= 3")
        assert await second.page.evaluate("window.got") == ["one", "two", "three"]
        assert await second.page.evaluate("window.live")


@pytest.mark.slow
async def test_the_page_shows_what_is_left_when_history_was_pruned_while_it_was_away(own: Rig) -> None:
    """A reset loads the list anew: what is gone goes from the page, and an unread row that was kept stays on it."""
    await own.bridge()
    port = free_port()
    url, web = await own.web(port=port)
    async with chromium() as browser, inbox(browser, 1) as page:
        await page.go(url)
        await own.insert(1, "goes", "kept")
        await page.shows("kept", "goes")
        await web.kill()
        await own.insert(1, "goes unseen")
        async with own.sql() as sql:
            await until(lambda: _all_stamped(own))
            await sql.execute("SELECT rowcast.forget(max(seq)) FROM notifications")
            await sql.execute("DELETE FROM notifications WHERE message LIKE 'goes%'")
        await own.insert(1, "after")
        await own.web(port=port)
        await page.shows("after", "kept")
        await page.live()


async def _all_stamped(own: Rig) -> bool:
    async with own.sql() as sql:
        return await (await sql.execute("SELECT bool_and(seq IS NOT NULL) FROM notifications")).fetchone() == (True,)
