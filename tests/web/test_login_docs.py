"""What docs/login.md tells a developer to write does what it says."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import httpx
import pytest
from playwright.async_api import Route

from rowcast.embedded import Server
from tests.parts import ROOT, require
from tests.web.inbox import chromium, insert
from tests.web.login import KEY, locked_web, token

pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs" / "login.md").read_text()
[IN_PYTHON] = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
IN_NODE, IN_THE_BROWSER, OUTSIDE_THE_BROWSER = re.findall(r"^```js\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)

_users: Iterator[int] = count(5_000_001)


@pytest.fixture(scope="module")
def locked_url(web_url: str, database_url: str, valkey: Server) -> Iterator[str]:
    """A web that asks for tokens; the other one's bridge serves it too."""
    assert web_url
    with locked_web(database_url, valkey.url) as url:
        yield url


def run(*command: str | Path, script: str) -> str:
    environment = os.environ | {"ROWCAST_JWT_KEY": KEY}
    done = subprocess.run(
        command, input=script, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def node(script: str) -> str:
    return run(require("node"), "--input-type=module", "-", script=script)


def test_a_backend_makes_tokens_that_are_taken(locked_url: str) -> None:
    user = next(_users)
    for made in (
        run(sys.executable, "-", script=f"{IN_PYTHON}\nprint(token_for({user}))"),
        node(f"{IN_NODE}\nconsole.log(tokenFor({user}));"),
    ):
        header = {"Authorization": f"Bearer {made}"}
        said = httpx.get(f"{locked_url}/session", headers=header, trust_env=False)
        assert said.status_code == 200, said.text
        assert (said.json()["user_id"], said.json()["scope"]) == (user, "read view")


async def test_a_client_of_fetch_reads_the_stream_and_tells_its_position(locked_url: str, database_url: str) -> None:
    user = next(_users)
    await insert(database_url, user, ["one", "two"])
    call = f"messages('{locked_url}/events/{user}?since=all', '{token(user)}')"
    script = f"""{OUTSIDE_THE_BROWSER}
    for await (const {{ message, position }} of {call}) {{
      console.log(JSON.stringify([message, Number(position) > 0]));
      if (message === "two") process.exit();
    }}"""
    lines = (await asyncio.to_thread(node, script)).splitlines()
    own = [json.loads(line) for line in lines]
    assert [line for line in own if line[0] in {"one", "two"}] == [["one", True], ["two", True]]


async def test_a_page_logs_in_and_its_stream_outlives_its_tokens(locked_url: str, database_url: str) -> None:
    """The page's minute is a few seconds here."""
    user, made = next(_users), []
    script = IN_THE_BROWSER.replace("/events/1", f"/events/{user}").replace("(seconds - 60)", "(seconds - 4)")
    script = script.replace("console.log(", "window.heard.push(")

    async def backend(route: Route) -> None:
        made.append(token(user, ttl=10))
        await route.fulfill(json={"token": made[-1], "seconds": 10})

    async with chromium() as browser:
        page = await browser.new_page(bypass_csp=True)
        await page.route("**/my/token", backend)
        await page.goto(f"{locked_url}/docs")
        await page.evaluate(f"async () => {{ window.heard = []; {script} window.events = events; }}")
        await insert(database_url, user, ["first"])
        await page.wait_for_function("heard.includes('first')")
        for _ in range(3):  # so that the first of them has ended
            async with page.expect_response("**/my/token", timeout=60_000):
                pass
        await insert(database_url, user, ["last"])
        await page.wait_for_function("heard.includes('last')", timeout=60_000)
        assert [text for text in await page.evaluate("heard") if text in {"first", "last"}] == ["first", "last"]
