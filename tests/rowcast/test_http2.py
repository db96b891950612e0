"""HTTP/2 on Hypercorn: what it gives, and what nobody can do with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import h2.events
import h2.settings
import pytest

from core.clock import SystemClock
from rowcast.door import Bounds
from rowcast.tls import Certificate
from tests.certificates import make_certificate, trusting
from tests.http2 import Http2Client, http2
from tests.rowcast.served import Counts, at_kernel, lose, served, soon
from tests.rowcast.small_app import ANSWERS, CHUNK, App
from tests.waiting import until

__all__ = ["soon"]

RESET_BURST = 2000


@asynccontextmanager
async def talking(
    app: App, folder: Path, counts: Counts, *, begin: bool = True
) -> AsyncIterator[tuple[Http2Client, int, asyncio.Event]]:
    """The app by Hypercorn with a certificate, and a client that has begun."""
    certfile, keyfile = make_certificate(folder)
    tls = Certificate(certfile, keyfile, SystemClock()).context
    async with (
        served(app, "hypercorn", Bounds(tls=tls, count=counts.count)) as (port, stopping),
        http2(port, trusting(certfile, "h2"), begin=begin) as client,
    ):
        yield client, port, stopping


async def test_many_streams_share_a_connection_and_end_cleanly_with_the_server(tmp_path: Path) -> None:
    app = App()
    async with talking(app, tmp_path, Counts()) as (client, port, stopping):
        streams = [client.get("/quiet") for _ in range(30)]
        await client.flush()
        await client.until(lambda: all(len(client.data(one)) == len(CHUNK) for one in streams))
        assert app.streams == 30
        assert len(at_kernel(port)) == 1
        stopping.set()
        await client.until(lambda: False)
        assert all(client.data(one).endswith(b"bye") and client.has(h2.events.StreamEnded, one) for one in streams)
        assert client.has(h2.events.ConnectionTerminated), "no GOAWAY"


async def test_a_stream_that_its_client_ends_is_noticed_and_no_other(tmp_path: Path) -> None:
    app = App()
    async with talking(app, tmp_path, Counts()) as (client, _, _):
        one, other = client.get("/quiet"), client.get("/quiet")
        await client.flush()
        await client.until(lambda: len(client.data(one)) == len(client.data(other)) == len(CHUNK))
        client.connection.reset_stream(one)
        await client.flush()
        await until(lambda: app.streams == 1, timeout=2)
        again = client.get("/")
        await client.flush()
        await client.until(lambda: client.data(again) == b"ok")
        client.writer.transport.abort()
        await until(lambda: app.streams == 0, timeout=2)


async def test_a_connection_whose_last_stream_was_reset_waits_no_longer_than_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rowcast.on_hypercorn.IDLE_TIMEOUT", 0.3)
    async with talking(App(), tmp_path, Counts()) as (client, _, _):
        one = client.get("/quiet")
        await client.flush()
        await client.until(lambda: len(client.data(one)) == len(CHUNK))
        client.connection.reset_stream(one)
        await client.flush()
        await client.until(lambda: False, timeout=3)
        assert client.ended


async def test_an_answer_that_the_app_leaves_unfinished_is_ended(tmp_path: Path) -> None:
    """Or an EventSource would wait for the rest, and not come back."""

    class Failing(App):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] != "http":
                return await super().__call__(scope, receive, send)
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"half", "more_body": True})
            raise RuntimeError("as an app fails")

    async with talking(Failing(), tmp_path, Counts()) as (client, _, _):
        one = client.get("/")
        await client.flush()
        await client.until(lambda: client.has(h2.events.StreamReset, one), timeout=3)
        assert not client.has(h2.events.StreamEnded, one)


async def test_what_waits_for_a_window_ends_with_its_connection(tmp_path: Path) -> None:
    """Of an app, too, that does not listen for the end of its client."""

    class Deaf(App):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http":
                await send({"type": "http.response.start", "status": 200, "headers": []})
                await send({"type": "http.response.body", "body": b"all of it", "more_body": False})
            else:
                await super().__call__(scope, receive, send)

    async with talking(Deaf(), tmp_path, Counts(), begin=False) as (client, _, _):
        client.connection.initiate_connection()
        client.connection.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 0})
        await client.flush()
        before = len(asyncio.all_tasks())
        one = client.get("/")
        await client.flush()
        await client.until(lambda: client.status(one) == "200")
        client.writer.transport.abort()
        await until(lambda: len(asyncio.all_tasks()) < before)


async def test_a_client_that_the_network_loses_ends_its_streams_and_breaks_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By ETIMEDOUT, as in test_serving.py; here it is one task that writes for all streams."""
    monkeypatch.setattr("rowcast.sockets._STUCK_AFTER_MS", 300)
    app, counts = App(), Counts()
    async with talking(app, tmp_path, counts) as (client, port, _):
        client.connection.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: (1 << 31) - 1})
        client.connection.increment_flow_control_window(1 << 30)
        for _ in range(3):
            client.get("/stream")
        await client.flush()
        await client.until(lambda: app.streams == 3 and app.sent > 0)
        lose(client.writer.get_extra_info("socket"))
        await until(lambda: app.streams == 0)
        await until(lambda: not at_kernel(port))
    assert not counts


async def test_a_body_that_comes_after_its_answer_hurts_nobody(tmp_path: Path) -> None:
    app = App()
    async with talking(app, tmp_path, Counts()) as (client, _, _):
        early = client.get("/", method="POST", end=False)
        await client.flush()
        await client.until(lambda: client.data(early) == b"ok")
        for _ in range(3):
            client.connection.send_data(early, b"x" * 1000)
        again = client.get("/")
        await client.flush()
        await client.until(lambda: client.data(again) == b"ok")
        assert not client.ended


@pytest.mark.parametrize(
    ("method", "path", "status"), [("CONNECT", "/", "501"), ("GET", "/caf\xe9", None)], ids=["connect", "not ASCII"]
)
async def test_what_http2_could_say_and_we_do_not_do_is_refused(
    tmp_path: Path, method: str, path: str, status: str | None
) -> None:
    app, counts = App(), Counts()
    async with talking(app, tmp_path, counts) as (client, _, _):
        asked, other = client.get(path, method=method), client.get("/")
        await client.flush()
        await client.until(lambda: client.data(other) == b"ok")
        assert client.status(asked) == status, client.events
        assert status or client.has(h2.events.StreamReset, asked)
    assert not counts


@pytest.mark.usefixtures("soon")
async def test_a_window_that_is_never_opened_holds_little_and_only_its_own_stream(tmp_path: Path) -> None:
    app, counts = App(), Counts()
    async with talking(app, tmp_path, counts) as (client, _, _):
        client.connection.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 0})
        asked = client.get("/stream")
        await client.flush()
        await client.until(lambda: app.streams == 1)
        await client.until(lambda: client.has(h2.events.StreamReset, asked))
        assert app.sent <= 2 * len(CHUNK), "what nobody takes is piled up"
        await until(lambda: app.streams == 0)
        assert not client.ended
    assert counts == {"slow_readers": 1}


@pytest.mark.slow
@pytest.mark.usefixtures("soon")
async def test_who_reads_nothing_of_a_connection_is_freed_with_all_its_streams(tmp_path: Path) -> None:
    app, counts = App(), Counts()
    async with talking(app, tmp_path, counts) as (client, port, _):
        client.connection.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: (1 << 31) - 1})
        client.connection.increment_flow_control_window(1 << 30)
        for _ in range(10):
            client.get("/stream")
        await client.flush()
        await until(lambda: app.streams == 10)
        cast(asyncio.Transport, client.writer.transport).pause_reading()
        await until(lambda: app.streams == 0, timeout=8)
        await until(lambda: not at_kernel(port), timeout=2)


async def test_a_long_answer_passes_through_small_windows(tmp_path: Path) -> None:
    app, counts = App(), Counts()
    async with talking(app, tmp_path, counts) as (client, _, _):
        asked = client.get("/list")
        await client.flush()
        await client.until(lambda: client.has(h2.events.StreamEnded, asked), timeout=20)
        assert client.data(asked) == ANSWERS["/list"]
    assert not counts


async def _rapid_reset(client: Http2Client) -> None:
    for _ in range(RESET_BURST):
        client.connection.reset_stream(client.get("/quiet"))


async def _pings(client: Http2Client) -> None:
    for number in range(10 * RESET_BURST):
        client.connection.ping(number.to_bytes(8, "big"))


async def _settings(client: Http2Client) -> None:
    for number in range(2 * RESET_BURST):
        client.connection.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 1000 + number})
        await client.flush()


async def _nothing(client: Http2Client) -> None:
    asked = client.get("/quiet", method="POST", end=False)
    for _ in range(10 * RESET_BURST):
        client.connection.send_data(asked, b"")


async def _priorities(client: Http2Client) -> None:
    for number in range(10 * RESET_BURST):
        client.connection.prioritize(2 * number + 1, weight=1 + number % 200)


@pytest.mark.slow
@pytest.mark.parametrize("flood", [_rapid_reset, _pings, _settings, _nothing, _priorities])
async def test_a_flood_of_frames_that_ask_for_nothing_ends_its_connection(
    tmp_path: Path, flood: Callable[[Http2Client], Awaitable[None]]
) -> None:
    """CVE-2023-44487 (rapid reset), CVE-2019-9512, 9513, 9515 and 9518."""
    app, counts = App(), Counts()
    async with talking(app, tmp_path, counts) as (client, port, _):
        reading = asyncio.ensure_future(client.until(lambda: False))
        await flood(client)
        await client.flush()
        await reading
        assert client.ended
        assert app.most <= RESET_BURST / 2
        await until(lambda: app.streams == 0)
        await until(lambda: not at_kernel(port), timeout=5)
    assert counts["http2_floods"] == 1


def _frame(kind: int, data: bytes) -> bytes:
    return len(data).to_bytes(3, "big") + bytes([kind, 0]) + (1).to_bytes(4, "big") + data


async def test_a_head_without_end_ends_its_connection(tmp_path: Path) -> None:
    """CONTINUATION after CONTINUATION (CVE-2024-27316)."""
    app = App()
    async with talking(app, tmp_path, Counts()) as (client, _, _):
        literal = b"\x00\x01a" + b"\x7f" + b"\x81\x7f" + b"x" * 16_000  # a name, and the length of a value
        client.writer.write(_frame(1, literal[:16_000]))
        reading = asyncio.ensure_future(client.until(lambda: False))
        for _ in range(500):
            client.writer.write(_frame(9, b"x" * 16_000))
        await reading
        assert client.ended
    assert app.asked == []


async def test_headers_that_are_too_many_end_their_connection_and_are_counted(tmp_path: Path) -> None:
    app, counts = App(), Counts()
    async with talking(app, tmp_path, counts) as (client, _, _):
        client.get("/", *((f"x-{n}", "x" * 1000) for n in range(70)))
        await client.flush()
        await client.until(lambda: False)
        assert client.ended
    assert app.asked == []
    assert counts == {"header_bytes": 1}
