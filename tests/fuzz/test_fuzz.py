"""What fuzzing found stays mended, its oracle notices what it should, and a short run finds nothing."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import suppress
from random import Random
from urllib.parse import urlsplit

import pytest

from tests.fuzz.oracle import Findings, Footprint
from tests.fuzz.parsers import drive
from tests.fuzz.requests import generate
from tests.parts import ROOT

# Each was a 500, with a traceback in the log.
FOUND = {
    "a host with a label of 64 characters": (b"GET /healthz HTTP/1.1\r\nHost: " + b"a" * 64 + b"\r\n\r\n", b"200"),
    "the same for a page": (b"GET /docs HTTP/1.1\r\nHost: " + b"a" * 64 + b".example\r\n\r\n", b"403"),
    "a whole URL that is none": (b"GET http://[x/events/1 HTTP/1.1\r\nHost: a\r\n\r\n", b"404"),
    "a whole URL without a path": (b"GET http://a HTTP/1.1\r\nHost: a\r\n\r\n", b"200"),
    "a question about the whole server": (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", b"404"),
}


@pytest.mark.parametrize(("request_", "status"), FOUND.values(), ids=FOUND)
async def test_what_was_found_is_answered(web_url: str, request_: bytes, status: bytes) -> None:
    place = urlsplit(web_url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    try:
        writer.write(request_)
        async with asyncio.timeout(10):
            assert (await reader.readline()).split()[1] == status
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


def test_both_parsers_take_whatever_comes() -> None:
    tried, wrong = drive(Random(1), 0.5)
    assert not wrong
    assert tried > 50


def test_the_same_seed_makes_the_same_bytes() -> None:
    first, again = Random(7), Random(7)
    assert [generate(first) for _ in range(50)] == [generate(again) for _ in range(50)]


def test_the_oracle_notices() -> None:
    findings = Findings()
    findings.answered(b"x", b"HTTP/1.1 503 \r\n\r\n", sound=True, whole=True)
    findings.answered(b"x", b"", sound=False, whole=False)
    findings.logged("web", '{"level": "warning", "event": "a"}\n')
    assert findings.wrong == []
    findings.answered(b"x", b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 500 \r\n\r\n", sound=False, whole=True)
    findings.answered(b"x", b"", sound=True, whole=False)
    findings.logged("web", '{"level": "error", "event": "web.failed"}\nTraceback (most recent call last):\n')
    assert len(findings.wrong) == 4
    assert Footprint(90 << 20, 10).grown(Footprint(80 << 20, 10)) is None
    assert Footprint(180 << 20, 10).grown(Footprint(80 << 20, 10))
    assert Footprint(80 << 20, 40).grown(Footprint(80 << 20, 10))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_short_run_finds_nothing() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "--seconds", "40", "--seed", "2"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
