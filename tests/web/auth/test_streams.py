"""Streams with auth jwt, over HTTP and in front of Quart: who gets one, and when it ends."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import httpx
import pytest

from core.clock import SystemClock
from core.user_ids import UserIdType
from rowcast.embedded import Server
from tests.db.databases import Databases
from tests.web.auth.conftest import FRIEND
from tests.web.auth.minting import SECRET, bearer, token
from tests.web.served import Served, serving
from web.auth.caller import Caller, KeysUnavailableError
from web.auth.config import AuthConfig
from web.auth.tokens import make_verifier
from web.config import WebConfig

CONFIG = WebConfig(cors_origins=frozenset({FRIEND}))


@pytest.fixture
async def served(databases: Databases, valkey: Server) -> AsyncIterator[Served]:
    verifier = make_verifier(AuthConfig(key=SECRET), UserIdType.BIGINT, SystemClock())
    async with serving(databases, valkey, CONFIG, verifier) as made:
        yield made


async def test_a_stream_is_for_its_user_alone(served: Served) -> None:
    """By header, and by the cookie that a native EventSource sends; with the refusals of every other route."""
    await served.air.send(1, 2)
    for by in (bearer(1)["Authorization"], None):
        async with served.client() as client:
            line = f"Authorization: {by}" if by else f"Cookie: __Host-rowcast={token({'sub': '1'})}"
            client.ask("GET /events/1?since=all", line, f"Origin: {FRIEND}")
            head = await client.head()
            assert head[0].startswith(b"HTTP/1.1 200")
            assert (
                b"access-control-allow-origin: " + FRIEND.replace("http", "HTTP").encode() in head
            )  # as this client spells it
            assert b"vary: origin" in head
            said = await client.until(b"event: hello\n")
            assert (said.count(b'"user_id":1'), said.count(b'"user_id":2')) == (1, 0)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{served.port}", verify=False) as http:
        statuses = {
            "/events/1": (401, {}),
            "/events/2": (403, bearer(1)),
            "/events/x": (400, bearer(1)),
            "/events/3?since=all": (403, bearer(3, "view send admin")),
            "/events/4": (403, bearer(None, "read")),
            "/events/5": (403, {"Cookie": f"__Host-rowcast={token({'sub': '5'})}", "Sec-Fetch-Site": "cross-site"}),
        }
        for path, (status, headers) in statuses.items():
            answer = await http.get(path, headers=headers)
            assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/problem+json")
            assert (await http.head(path, headers=headers)).status_code == status
    assert served.air.hub.streams == 0


async def test_a_stream_over_http_ends_cleanly_with_its_token(served: Served) -> None:
    expires_at = SystemClock().time() + 1
    async with served.client() as client:
        client.ask("GET /events/1?since=now", f"Authorization: {bearer(1, exp=expires_at)['Authorization']}")
        assert (await client.head())[0].startswith(b"HTTP/1.1 200")
        await client.until(b"id: 0\n\n")
        said = await client.until(b"\r\n0\r\n\r\n")
        assert said.index(b"retry: ") < said.index(b"id: 0\n\n")
    assert -0.1 < SystemClock().time() - expires_at < 4


class _Keyless:
    """While the keys can't be fetched."""

    async def verify(self, token: str) -> Caller:
        raise KeysUnavailableError


async def test_while_nobody_can_tell_streams_are_to_come_back_and_the_rest_is_a_503(
    databases: Databases, valkey: Server
) -> None:
    async with (
        serving(databases, valkey, CONFIG, _Keyless()) as served,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{served.port}", verify=False) as http,
    ):
        stream = await http.get("/events/1", headers=bearer())
        assert (stream.status_code, stream.headers["Content-Type"]) == (200, "text/event-stream")
        assert stream.text.startswith("retry: ")
        assert stream.text.count("\n") == 2
        rest = await http.get("/notifications", headers=bearer())
        assert (rest.status_code, json.loads(rest.text)["status"]) == (503, 503)
        assert rest.headers["Retry-After"] == "2"
        assert (await http.get("/healthz")).status_code == 200
