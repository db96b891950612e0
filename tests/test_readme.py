"""What the README tells a newcomer to type does what it says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from playwright.sync_api import Page, sync_playwright

from tests.parts import ROOT, require
from tests.servers import folder

README = (ROOT / "README.md").read_text()
ADDRESS = "http://127.0.0.1:8000"


def snippets(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


class Running:
    """A `rowcast up` of the test's own, and what it said of itself."""

    def __init__(self, data_dir: Path) -> None:
        self.environment = os.environ | {
            "ROWCAST_DATA_DIR": str(data_dir),
            "ROWCAST_READY_FILE": str(data_dir / "ready.json"),
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "rowcast", "up", "--port", "0"],
            env=self.environment,
            cwd=data_dir,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert self.process.stdout is not None
        said = []
        for line in self.process.stdout:
            said.append(line)
            if "Watch" in line:
                break
        assert self.process.poll() is None, "".join(said)
        report = json.loads((data_dir / "ready.json").read_text())
        self.web_url: str = report["web_url"]
        self.database_url: str = report["database_url"]

    def shell(self, line: str) -> str:
        """Run a line of the README against this one; raises if it fails."""
        line = line.replace(ADDRESS, self.web_url).replace(".venv/bin/rowcast", f"{sys.executable} -m rowcast")
        done = subprocess.run(
            line, shell=True, env=self.environment, capture_output=True, text=True, check=False, timeout=30
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def stop(self) -> None:
        self.process.terminate()
        self.process.communicate(timeout=30)


@pytest.fixture(scope="module")
def rowcast() -> Iterator[Running]:
    with folder() as data_dir:
        running = Running(data_dir)
        try:
            yield running
        finally:
            running.stop()


@pytest.fixture
def page(rowcast: Running) -> Iterator[Page]:
    chromium = str(require("chromium"))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-background-networking"]
        )
        try:
            page = browser.new_page(bypass_csp=True)  # the three lines are for a page of the reader's own
            page.goto(f"{rowcast.web_url}/docs")
            yield page
        finally:
            browser.close()


def test_the_tour_shows_each_message_once_and_in_order(rowcast: Running, page: Page) -> None:
    """The page's three lines hear what the SQL, the curl line and the command of the README insert."""
    page.evaluate("() => { window.heard = []; console.log = (text) => window.heard.push(text); }")
    [script] = snippets("js")
    page.evaluate(f"() => {{ {script} }}")
    [sql] = snippets("sql")
    with psycopg.connect(rowcast.database_url) as connection:
        connection.execute(sql.encode())
    page.wait_for_function("heard.length >= 3")
    [post] = [line for block in snippets("sh") for line in block.splitlines() if "content-type" in line]
    assert json.loads(rowcast.shell(post))["message"] == "hello"
    [send] = re.findall(r"`(\.venv/bin/rowcast send [^`]+)`", README)
    page.wait_for_function("heard.length >= 4")
    rowcast.shell(send)
    page.wait_for_function("heard.length >= 5")
    assert page.evaluate("heard") == ["hello", "paid", "hello, everyone", "hello", "hello"]


def test_the_curl_line_shows_the_stream_as_it_is_on_the_wire(rowcast: Running) -> None:
    [line] = [line for block in snippets("sh") for line in block.splitlines() if line.startswith("curl -N")]
    command = line.replace(ADDRESS, rowcast.web_url).split()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as curl:
        assert curl.stdout is not None
        first = curl.stdout.readline()
        curl.kill()
    assert re.fullmatch(r"retry: \d+\n", first)


def test_the_table_of_columns_is_the_tables(rowcast: Running) -> None:
    listed = {
        name
        for row in re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", README, re.MULTILINE)
        for name in re.findall(r"\w+", row)
    }
    with psycopg.connect(rowcast.database_url) as connection:
        there = connection.execute(
            "SELECT column_name FROM information_schema.columns WHERE table_schema = 'public' AND table_name = 'notifications'"
        ).fetchall()
    assert listed == {name for (name,) in there}
