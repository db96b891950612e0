"""Streams over HTTP, answered in front of Quart: every byte of the answer, and what becomes of a stream whose client leaves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest

from core.user_ids import UserIdType
from rowcast.embedded import Server
from tests.db.databases import Databases
from tests.web.served import Served, serving
from web.auth.caller import ANYBODY
from web.config import WebConfig
from web.routes.events import asked_for
from web.stream import Since, Start, Unknown

HEAD = [
    b"HTTP/1.1 200",
    b"cache-control: no-store, no-transform",
    b"content-security-policy: frame-ancestors 'none'",
    b"content-type: text/event-stream",
    b"cross-origin-opener-policy: same-origin",
    b"cross-origin-resource-policy: same-origin",
    b"referrer-policy: no-referrer",
    b"x-accel-buffering: no",
    b"x-content-type-options: nosniff",
]


@pytest.fixture
async def served(databases: Databases, valkey: Server) -> AsyncIterator[Served]:
    async with serving(databases, valkey, WebConfig()) as made:
        yield made


@pytest.mark.parametrize("url", ["/events/1?since=all", "/events/%31?since=all", "http://x/events/1?since=all"])
async def test_a_stream_over_http(served: Served, url: str) -> None:
    await served.air.send(1)
    async with served.client() as client:
        client.ask(f"GET {url}")
        assert await client.head() == sorted([*HEAD, b"transfer-encoding: chunked"])
        said = await client.until(b'{"seq":1}\nevent: hello\nid: 1\n\n')
        assert b'"message":"hello"' in said
        await served.air.send(2, 1)
        assert await client.until(b"id: 3\n\n")


async def test_head_has_the_headers_of_a_stream_and_opens_none(served: Served) -> None:
    async with served.client() as client:
        client.ask("HEAD /events/1")
        assert [line for line in await client.head() if not line.startswith(b"content-length")] == HEAD
        client.ask("GET /healthz")
        assert (await client.head())[0].startswith(b"HTTP/1.1 200")
        assert served.air.hub.streams == 0


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_other_methods_are_refused_as_everywhere(served: Served, method: str) -> None:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{served.port}") as http:
        answer = await http.request(method, "/events/1", json={})
    assert answer.status_code == 405
    assert answer.headers["Allow"] == "GET, HEAD, OPTIONS"
    assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(
    "path", ["/events/x", "/events/1?since=x", "/events/%ff", "/events/1?since=%ff", "/events/1?a=%00"]
)
async def test_what_can_never_succeed_is_a_400(served: Served, path: str) -> None:
    async with served.client() as client:
        client.ask(f"GET {path}")
        head = await client.head()
        assert head[0].startswith(b"HTTP/1.1 400")
        assert {b"content-type: application/problem+json", b"x-content-type-options: nosniff"} <= set(head)


@pytest.mark.parametrize("path", ["/events", "/events/", "/eventsx/1"])
async def test_what_is_near_a_stream_is_none(served: Served, path: str) -> None:
    async with served.client() as client:
        client.ask(f"GET {path}")
        assert (await client.head())[0].startswith(b"HTTP/1.1 404")


async def test_an_id_with_slashes_in_it_is_one_id(databases: Databases, valkey: Server) -> None:
    async with serving(databases, valkey, WebConfig(user_id_type=UserIdType.TEXT)) as served, served.client() as client:
        client.ask("GET /events/a/b%2F%C3%A9?since=now")
        await client.until(b"event: hello")
        [mailbox] = served.air.hub._buckets[0].mailboxes
        assert mailbox.user_id == "a/b/é"


async def test_a_client_that_leaves_is_noticed_at_once(served: Served) -> None:
    """Nothing is written to it for 15 s."""
    async with served.client() as client:
        client.ask("GET /events/1")
        await client.until(b"event: hello")
        await served.one_stream()
    await served.nobody_left()


async def test_a_client_that_leaves_before_its_stream_is_live_is_noticed(served: Served) -> None:
    async with served.client() as client:
        client.ask("GET /events/1")
        await served.one_stream()
    await served.nobody_left()


async def test_a_client_that_sends_on_and_leaves_is_noticed_by_the_next_heartbeat(
    databases: Databases, valkey: Server
) -> None:
    """Hypercorn reads no further behind a second request, and sees no end there."""
    async with serving(databases, valkey, replace(WebConfig(), heartbeat=0.1)) as served:
        async with served.client() as client:
            client.ask("GET /events/1")
            await client.until(b"event: hello")
            client.ask("GET /healthz")
            await client.until(b":\n")
        await served.nobody_left()


async def test_a_body_that_comes_with_the_request_is_let_pass(served: Served) -> None:
    async with served.client() as client:
        client.ask("GET /events/1", "Content-Length: 100000", body="x" * 50_000)
        await client.until(b"event: hello")
        client.writer.write(b"x" * 50_000)
        await served.air.send(1)
        await client.until(b"id: 1\n\n")
    await served.nobody_left()


async def test_a_stop_ends_the_stream_and_its_answer_cleanly(served: Served) -> None:
    async with served.client() as client:
        client.ask("GET /events/1")
        await client.until(b"event: hello")
        served.stopping.set()
        said = await client.until(b"0\r\n\r\n")
        assert b"retry: " in said


@pytest.mark.parametrize(
    ("query", "header", "start"),
    [
        (b"", None, Since.UNREAD),
        (b"since=now", "", Since.NOW),
        (b"since=7&since=8", None, 7),
        (b"since=all&lastEventId=", None, Since.ALL),
        (b"since=all&lastEventId=7", None, 7),
        (b"lastEventId=7", "8", 8),
        (b"lastEventId=%37", None, 7),
        (b"lastEventId=7", "x", Unknown()),
        (b"lastEventId=7+", None, Unknown()),
        (b"since", "-1", Unknown()),
    ],
)
def test_where_it_is_to_start(query: bytes, header: str | None, start: Start) -> None:
    """The header wins over lastEventId, that over since; an empty one counts as none, and of two the first."""
    asked = asked_for(UserIdType.BIGINT, ANYBODY, "07", path=b"/events/07", query=query, last_event_id=header)
    assert asked == ("7", start)
