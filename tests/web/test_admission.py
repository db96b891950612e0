"""The caps, each at its edge and one over: what is refused costs nobody else anything, and an EventSource comes back."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, cast

import httpx
import pytest

from rowcast.embedded import Server
from tests.db.databases import Databases
from tests.event_source import open_stream
from tests.waiting import until
from tests.web.served import Client, Served, serving
from web import app as app_module
from web import incoming
from web.addresses import TrustedProxies
from web.config import Caps, WebConfig
from web.limiter import MOST_COUNTS, Limiter
from web.refusals import Cap


def capped(**caps: int) -> WebConfig:
    return WebConfig(caps=Caps(**caps))


async def burst(
    served: Served, path: str, *, method: str = "GET", address: str = "127.0.0.1", **more: Any
) -> list[httpx.Response]:
    """The answers to 40 requests at once."""
    transport = httpx.AsyncHTTPTransport(local_address=address, limits=httpx.Limits(max_connections=10))
    async with httpx.AsyncClient(base_url=served.url, transport=transport, timeout=30) as http:
        return await asyncio.gather(*(http.request(method, path, **more) for _ in range(40)))


def statuses(answers: list[httpx.Response]) -> set[int]:
    return {answer.status_code for answer in answers}


async def opened(client: Client, user: int = 1) -> Client:
    client.ask(f"GET /events/{user}")
    await client.until(b"event: hello")
    return client


async def refused_for_now(client: Client, user: int = 1) -> None:
    """The request for a stream is answered as one that ends at once, and later than usual is when to come back."""
    client.ask(f"GET /events/{user}")
    head = await client.head()
    assert head[0].startswith(b"HTTP/1.1 200")
    assert b"content-type: text/event-stream" in head
    said = await client.until(b"\n\n")
    milliseconds = int(said.rpartition(b"retry: ")[2])
    assert 4 * 1500 <= milliseconds <= 4 * 4500


async def test_a_user_has_no_more_streams_than_the_cap(databases: Databases, valkey: Server) -> None:
    async with serving(databases, valkey, capped(streams_per_user=2)) as served:
        async with served.client() as one, served.client("127.0.0.2") as two, served.client("127.0.0.3") as three:
            await opened(one)
            await opened(two)
            await refused_for_now(three)
            assert (served.air.hub.streams, served.refused(Cap.STREAMS_PER_USER)) == (2, 1)
            async with served.client() as other:
                await opened(other, 2)
        await served.nobody_left()
        async with served.client() as again:
            await opened(again)


async def test_an_address_has_no_more_streams_than_the_cap(databases: Databases, valkey: Server) -> None:
    async with serving(databases, valkey, capped(streams_per_address=2)) as served:
        async with served.client() as one, served.client() as two, served.client() as three:
            await opened(one, 1)
            await opened(two, 2)
            await refused_for_now(three, 3)
            assert (served.air.hub.streams, served.refused(Cap.STREAMS_PER_ADDRESS)) == (2, 1)
            async with served.client("127.0.0.2") as other:
                await opened(other, 3)
        await served.nobody_left()
        async with served.client() as again:
            await opened(again)


async def test_an_event_source_that_was_refused_comes_back_and_misses_nothing(
    databases: Databases, valkey: Server
) -> None:
    async with serving(databases, valkey, capped(streams_per_user=1)) as served, served.client() as first:
        await opened(first)
        async with open_stream(f"{served.url}/events/1") as late:
            await late.until(lambda: late.ends >= 2)
            await served.air.send(1)
            first.writer.transport.abort()
            await late.receives("hello")
            assert set(late.statuses) == {200}


async def test_requests_of_an_address_have_a_cap_that_others_do_not_feel(databases: Databases, valkey: Server) -> None:
    async with serving(databases, valkey, capped(requests_per_address=1)) as served:
        answers = await burst(served, "/favicon.ico")
        assert statuses(answers) == {404, 429}
        assert sum(answer.status_code == 429 for answer in answers) == served.refused(Cap.REQUESTS_PER_ADDRESS)
        transport = httpx.AsyncHTTPTransport(local_address="127.0.0.2")
        async with httpx.AsyncClient(base_url=served.url, transport=transport) as other:
            assert (await other.get("/favicon.ico")).status_code == 404


async def test_over_the_cap_of_requests_it_is_said_when_to_come_back(databases: Databases, valkey: Server) -> None:
    async with serving(databases, valkey, capped(requests_per_address=1)) as served:
        posted = await burst(served, "/notifications", method="POST", content=b"x" * 100_000)
        refused = next(answer for answer in posted if answer.status_code == 429)
        assert refused.headers["retry-after"] == "1"
        assert refused.headers["content-type"] == "application/problem+json"
        assert "1 requests a second" in refused.json()["detail"]
        assert len({answer.headers["x-request-id"] for answer in posted}) == len(posted)
        heads = await burst(served, "/", method="HEAD")
        assert 429 in statuses(heads)


async def test_over_the_cap_of_requests_a_stream_ends_and_comes_back(databases: Databases, valkey: Server) -> None:
    async with serving(databases, valkey, capped(requests_per_address=1)) as served:
        answers = await burst(served, "/events/no-user")  # which is a 400 for who gets through
        refused = [answer for answer in answers if answer.status_code == 200]
        assert len(refused) == served.refused(Cap.REQUESTS_PER_ADDRESS)
        assert refused[0].headers["content-type"] == "text/event-stream"
        # There is room for it within a second: no longer than usual.
        assert all(1500 <= int(answer.text.removeprefix("retry: ")) <= 4500 for answer in refused)


async def test_an_orchestrator_is_answered_during_a_flood_from_its_own_address(
    databases: Databases, valkey: Server
) -> None:
    async with serving(databases, valkey, capped(requests_per_address=1)) as served:
        assert 429 in statuses(await burst(served, "/openapi.json"))
        assert statuses(await burst(served, "/healthz")) == {200}
        assert 429 not in statuses(await burst(served, "/readyz"))


async def test_a_refusal_can_be_read_by_pages_that_may_call_us(databases: Databases, valkey: Server) -> None:
    """Without the headers of CORS a browser would give the stream up for good."""
    origin = "https://app.example"  # the client of the tests writes http in capitals
    config = replace(capped(streams_per_address=1), cors_origins=frozenset({origin}))
    async with serving(databases, valkey, config) as served, served.client() as first, served.client() as second:
        await opened(first)
        second.ask("GET /events/1", f"Origin: {origin}")
        assert b"access-control-allow-origin: HTTPs://app.example" in await second.head()


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_head_that_is_too_long_is_refused_with_a_problem(
    databases: Databases, valkey: Server, method: str
) -> None:
    config = WebConfig(cors_origins=frozenset({"https://app.example"}))
    async with serving(databases, valkey, config, header_bytes=1024) as served:
        async with httpx.AsyncClient(base_url=served.url, headers={"Origin": "https://app.example"}) as http:
            assert (await http.request(method, "/healthz", headers={"Cookie": "a" * 500})).status_code == 200
            refused = await http.request(method, "/healthz", headers={"Cookie": "a" * 1000})
        assert (refused.status_code, refused.headers["content-type"]) == (431, "application/problem+json")
        assert refused.headers.keys() >= {"x-request-id", "access-control-allow-origin", "x-content-type-options"}
        assert ("Send fewer cookies" in refused.text) == (method == "GET")
        assert served.refused(Cap.HEADER_BYTES) == 1


async def test_behind_a_trusted_proxy_each_client_has_caps_of_its_own(databases: Databases, valkey: Server) -> None:
    config = replace(capped(streams_per_address=1), trusted_proxies=TrustedProxies.parse("127.0.0.1"))
    async with (
        serving(databases, valkey, config) as served,
        served.client() as one,
        served.client() as two,
        served.client() as liar,
    ):
        one.ask("GET /events/1", "X-Forwarded-For: 192.0.2.1")
        await one.until(b"event: hello")
        two.ask("GET /events/1", "X-Forwarded-For: 192.0.2.2")
        await two.until(b"event: hello")
        liar.ask("GET /events/1", "X-Forwarded-For: 192.0.2.9, 192.0.2.1")
        await liar.until(b"retry: ")
        assert served.refused(Cap.STREAMS_PER_ADDRESS) == 1


async def test_nobody_is_believed_who_is_no_trusted_proxy(databases: Databases, valkey: Server) -> None:
    config = replace(capped(streams_per_address=1), trusted_proxies=TrustedProxies.parse("127.0.0.1"))
    async with (
        serving(databases, valkey, config) as served,
        served.client("127.0.0.2") as one,
        served.client("127.0.0.2") as liar,
    ):
        await opened(one)
        liar.ask("GET /events/1", "X-Forwarded-For: 192.0.2.1", "Forwarded: for=192.0.2.1")
        await liar.until(b"retry: ")
        assert served.refused(Cap.STREAMS_PER_ADDRESS) == 1


async def test_metrics_tell_of_streams_and_of_each_cap(databases: Databases, valkey: Server) -> None:
    async with serving(databases, valkey, capped(streams_per_user=1)) as served:
        async with served.client() as one, served.client() as two:
            await opened(one)
            await refused_for_now(two)
            async with httpx.AsyncClient(base_url=served.url) as http:
                answer = await http.get("/metrics")
        assert answer.headers["content-type"].startswith("text/plain; version=")
        assert 'rowcast_refusals_total{cap="streams_per_user"} 1.0' in answer.text
        assert 'rowcast_refusals_total{cap="requests_per_address"} 0.0' in answer.text
        assert "rowcast_streams 1.0" in answer.text


async def test_a_body_that_comes_a_byte_at_a_time_is_given_up(
    databases: Databases, valkey: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though it never rests for long, and is told so at once when it ends."""
    monkeypatch.setattr(app_module, "BODY_TIMEOUT", 0.5)
    monkeypatch.setattr(incoming, "PATIENCE", 0.5)
    async with serving(databases, valkey, WebConfig()) as served, served.client() as slow:
        slow.ask("POST /notifications", "Content-Type: application/json", "Content-Length: 100", body="{")
        began = served.air.clock.now()
        answer = asyncio.create_task(slow.until(b" 408 "))
        while not answer.done() and served.air.clock.now() < began + 5:
            slow.writer.write(b" ")
            await asyncio.sleep(0.1)  # how slow it is
        given_up = answer.done()
        answer.cancel()
        assert given_up


async def test_who_is_refused_and_goes_on_sending_holds_nothing(databases: Databases, valkey: Server) -> None:
    """More pieces of a body than the server's queue for the app takes, and nobody who reads them."""

    def talking() -> int:
        return sum(task.get_name() == "client" for task in asyncio.all_tasks())

    async with serving(databases, valkey, capped(streams_per_address=1)) as served, served.client() as first:
        await opened(first)
        async with served.client() as second:
            second.ask("GET /events/1", "Transfer-Encoding: chunked", body="1\r\nx\r\n" * 40)
            await second.until(b"retry: ")
            assert talking() == 2
        await until(lambda: talking() == 1, timeout=10)


async def test_a_body_over_the_cap_is_counted(databases: Databases, valkey: Server) -> None:
    async with serving(databases, valkey, WebConfig(body_bytes=1000)) as served:
        async with httpx.AsyncClient(base_url=served.url) as http:
            json = {"Content-Type": "application/json"}
            bodies = [b'{"user_id":1,"message":"%s"}' % (b"x" * (size - 26)) for size in (1000, 1001)]
            answers = [await http.post("/notifications", content=body, headers=json) for body in bodies]
        assert [len(body) for body in bodies] == [1000, 1001]
        assert [answer.status_code for answer in answers] == [201, 413]
        assert served.refused(Cap.BODY_BYTES) == 1


@pytest.mark.slow
def test_a_million_addresses_cost_a_bounded_memory() -> None:
    limiter = Limiter(100)
    for number in range(1_000_000):
        assert limiter.admits(str(number))
    held = cast(Any, limiter)._limiter._store._backend.get_client()
    assert len(held) == MOST_COUNTS


def test_the_cap_of_requests_is_per_second(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000_000.0
    monkeypatch.setattr("throttled.utils.now_sec", lambda: int(now))
    monkeypatch.setattr("throttled.utils.now_ms", lambda: int(now * 1000))
    limiter = Limiter(10)
    assert [limiter.admits("a") for _ in range(12)] == [True] * 10 + [False] * 2
    assert limiter.admits("b")
    now += 1.5  # of the ten, half are within the last second
    assert [limiter.admits("a") for _ in range(6)] == [True] * 5 + [False]
    now += 2
    assert limiter.admits("a")
    assert Limiter(0).admits("a")
