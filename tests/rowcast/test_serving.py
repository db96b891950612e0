"""What an app may rely on, whichever server it is served by: how clients leave, how slow ones are held, how it all ends."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from rowcast.door import Bounds
from rowcast.serving import CLOSE_TIMEOUT, ServerName, end_leftovers, serve_until
from rowcast.sockets import listen, parse_bind
from tests.parts import ROOT
from tests.rowcast.served import GET, QUIET, STREAM, Counts, at_kernel, connect, lose, served, server, stuck
from tests.rowcast.small_app import CHUNK, App
from tests.rowcast.ups import environment
from tests.waiting import turns, until

__all__ = ["server"]


async def test_a_stop_ends_streams_first_and_then_connections_that_wait(server: ServerName) -> None:
    app = App()
    async with served(app, server) as (port, stopping):
        stream, writer = await connect(port, STREAM.replace(b"stream", b"quiet"))
        idle, other = await connect(port, GET)
        await idle.readuntil(b"ok")
        await stream.readuntil(CHUNK)
        stopping.set()
        assert (await stream.read()).endswith(b"bye\r\n0\r\n\r\n"), "cut off instead of ended"
        assert await idle.read() == b""
        writer.close()
        other.close()


async def test_a_stop_does_not_wait_for_who_reads_nothing(server: ServerName) -> None:
    app, stopping, loop = App(), asyncio.Event(), asyncio.get_running_loop()
    (listening,) = listen(parse_bind("127.0.0.1:0"))
    with capture_logs() as log, listening:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(serve_until(app, [listening], stopping, server=server), name="server")
            reader = stuck(listening.getsockname()[1])
            await until(lambda: app.streams == 1)
            stopping.set()
            began = loop.time()
        assert loop.time() - began < CLOSE_TIMEOUT + 0.7
    assert [line["event"] for line in log] == ["server.cut"]
    reader.close()
    await end_leftovers()
    assert app.streams == 0
    await turns()


async def test_who_reads_nothing_holds_up_only_its_own_stream(server: ServerName) -> None:
    """Some hundred kilobytes are with the kernel and the server; after that the app waits."""
    app = App()
    async with served(app, server) as (port, _):
        with stuck(port):
            await until(lambda: app.sent > 100_000)
            last = -1
            while last != app.sent:
                last = app.sent
                reader, writer = await connect(port, GET)
                await reader.readuntil(b"ok")
                writer.close()
            assert app.sent < 4_000_000
        await until(lambda: app.streams == 0)


@pytest.mark.parametrize("how", ["closes", "resets", "closes its half"])
async def test_a_client_that_leaves_is_noticed_at_once(server: ServerName, how: str) -> None:
    app = App()
    async with served(app, server) as (port, _):
        reader, writer = await connect(port, STREAM.replace(b"stream", b"quiet"))
        await reader.readuntil(CHUNK)
        match how:
            case "closes":
                writer.close()
            case "resets":
                writer.transport.abort()
            case _:
                writer.write_eof()
        await until(lambda: app.streams == 0, timeout=2)
        writer.close()


async def test_a_client_that_asks_again_and_leaves_is_noticed_by_the_next_writes(server: ServerName) -> None:
    """Its second request waits for the end of the first one, and with it what else there is to be read."""
    app = App()
    async with served(app, server) as (port, _):
        reader, writer = await connect(port, STREAM)
        await reader.readexactly(len(CHUNK))
        writer.write(GET)
        await writer.drain()
        writer.transport.abort()
        await until(lambda: app.streams == 0)
    assert app.asked == []


async def test_requests_on_one_connection_are_answered_in_turn(server: ServerName) -> None:
    app = App()
    async with served(app, server) as (port, _):
        reader, writer = await connect(port, GET * 3)
        for _ in range(3):
            await reader.readuntil(b"ok")
        writer.write(GET.replace(b"GET", b"HEAD"))
        assert not (await reader.readuntil(b"\r\n\r\n")).endswith(b"ok")
        body = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100_000
        writer.write(body + GET)  # answered before it was read
        answers = (await reader.readuntil(b"ok")) + (await reader.readuntil(b"ok"))
        assert answers.count(b"HTTP/1.1 200") == 2
        writer.close()
    assert [scope["method"] for scope in app.asked] == ["GET"] * 3 + ["HEAD", "POST", "GET"]


async def test_headers_without_end_are_refused(server: ServerName) -> None:
    app, counts = App(), Counts()
    async with served(app, server, Bounds(count=counts.count)) as (port, _):
        status, headers, body = await _refusal(port, b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * 60_000)
    assert (status, headers["content-type"]) == (431, "application/problem+json")
    assert body["status"] == 431
    assert "Send fewer cookies" in body["detail"]
    assert app.asked == []
    assert counts == {"header_bytes": 1}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (b"what\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
    ],
    ids=["no request", "no host", "http/2", "a coding"],
)
async def test_what_is_no_request_is_answered_with_a_problem(server: ServerName, said: bytes, expected: int) -> None:
    app, counts = App(), Counts()
    async with served(app, server, Bounds(count=counts.count)) as (port, _):
        status, headers, body = await _refusal(port, said)
    assert (status, headers["content-type"], body["status"]) == (expected, "application/problem+json", expected)
    assert headers["connection"] == "close"
    assert app.asked == []
    assert not counts


async def _refusal(port: int, said: bytes) -> tuple[int, dict[str, str], dict[str, Any]]:
    """Status, headers and body of the last answer on a connection."""
    reader, writer = await connect(port, said)
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    line, *lines = head.decode().lower().split("\r\n")
    return int(line.split()[1]), dict(each.split(": ", 1) for each in lines), json.loads(body)


@pytest.mark.parametrize(
    ("said", "within"),
    [(b"", "IDLE_TIMEOUT"), (b"GET / HTTP/1.1\r\nHost: x\r\n", "HEAD_TIMEOUT"), (GET, "IDLE_TIMEOUT")],
    ids=["nothing", "half a request", "one"],
)
async def test_a_connection_that_waits_is_ended_in_time(
    server: ServerName, said: bytes, within: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"rowcast.on_{server}.{within}", 0.3)
    app = App()
    async with served(app, server) as (port, _):
        reader, writer = await connect(port, said)
        async with asyncio.timeout(3):
            await reader.read()
        writer.close()


async def test_a_stream_is_no_connection_that_waits(server: ServerName, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"rowcast.on_{server}.IDLE_TIMEOUT", 0.2)
    app = App()
    async with served(app, server) as (port, _):
        reader, writer = await connect(port, STREAM.replace(b"stream", b"quiet"))
        await reader.readuntil(CHUNK)
        idle, other = await connect(port, b"")
        await idle.read()
        assert app.streams == 1
        writer.close()
        other.close()


@pytest.mark.parametrize("upgrade", ["h2c", "websocket"])
async def test_an_upgrade_is_passed_over(server: ServerName, upgrade: str) -> None:
    """In clear text HTTP/2 would lead past what a proxy lets through (h2c smuggling)."""
    app = App()
    async with served(app, server) as (port, _):
        wanted = (
            f"\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: {upgrade}\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"
        )
        reader, writer = await connect(port, GET.replace(b"\r\n\r\n", wanted.encode()) + GET)
        assert b"101" not in (await reader.readuntil(b"ok"))
        assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")
        writer.close()
    assert [scope["http_version"] for scope in app.asked] == ["1.1", "1.1"]


async def test_http2_does_not_begin_in_clear_text(server: ServerName) -> None:
    app = App()
    async with served(app, server) as (port, _):
        reader, writer = await connect(port, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5))
        async with asyncio.timeout(3):
            answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 505")
        writer.close()
    assert app.asked == []
    assert app.streams == 0


async def test_a_pipelined_request_hides_no_leaving(server: ServerName) -> None:
    app = App()
    async with served(app, server) as (port, _):
        reader, writer = await connect(port, STREAM.replace(b"stream", b"quiet") + GET)
        await reader.readuntil(CHUNK)
        writer.close()
        await until(lambda: app.streams == 0, timeout=2)
    assert app.asked == []


async def test_a_request_that_comes_behind_an_open_stream_hides_no_leaving(server: ServerName) -> None:
    """Nothing is written meanwhile that could fail: only who goes on reading hears it."""
    app = App()
    async with served(app, server) as (port, _):
        reader, writer = await connect(port, QUIET)
        await reader.readexactly(len(CHUNK))
        writer.write(GET)
        writer.close()
        await until(lambda: app.streams == 0)
    assert app.asked == []


async def test_little_is_read_of_what_is_asked_behind_an_open_stream(server: ServerName) -> None:
    app, much = App(), GET * 200_000
    async with served(app, server) as (port, _):
        reader, writer = await connect(port, QUIET)
        await reader.readexactly(len(CHUNK))
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
        writer.write(much)
        last = -1
        while last != (last := writer.transport.get_write_buffer_size()):
            other, also = await connect(port, GET)
            await other.readuntil(b"ok")
            also.close()
        assert last > len(much) / 2
        writer.transport.abort()


async def test_a_stream_asked_for_behind_another_request_is_no_connection_that_waits(
    server: ServerName, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"rowcast.on_{server}.IDLE_TIMEOUT", 1.0)
    app = App()
    async with served(app, server) as (port, _):
        reader, writer = await connect(port, GET + QUIET)
        await reader.readuntil(CHUNK)
        idle, other = await connect(port, b"")
        await idle.read()
        app.ending.set()
        assert (await reader.read()).endswith(b"bye\r\n0\r\n\r\n"), "cut as one that waits"
        writer.close()
        other.close()


async def test_a_client_that_the_network_loses_ends_its_stream_like_any_that_leaves(
    server: ServerName, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """By ETIMEDOUT, which is no ConnectionError: from the kernel, once TCP_USER_TIMEOUT has passed in which nothing of what was sent arrived."""

    class Noting(App):
        raised: OSError | None = None

        async def _write(self, send: Any, quiet: bool) -> None:
            try:
                await super()._write(send, quiet)
            except OSError as error:
                self.raised = error

    monkeypatch.setattr("rowcast.sockets._STUCK_AFTER_MS", 300)
    app, counts = Noting(), Counts()
    async with served(app, server, Bounds(count=counts.count)) as (port, _):
        _, writer = await connect(port, STREAM)
        await until(lambda: app.sent > 0)
        lose(writer.get_extra_info("socket"))
        await until(lambda: app.streams == 0)
        await until(lambda: not at_kernel(port))
        writer.transport.abort()
    assert app.raised is None
    assert not counts
    assert not caplog.records


async def test_what_follows_an_early_answer_is_read_and_then_bounded(
    server: ServerName, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that sends its body a byte at a time, and has its answer, may not go on for ever."""
    monkeypatch.setattr(f"rowcast.on_{server}.HEAD_TIMEOUT", 0.3)
    app = App()
    async with served(app, server) as (port, _):
        reader, writer = await connect(port, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")
        await reader.readuntil(b"ok")
        end = asyncio.ensure_future(reader.read())
        async with asyncio.timeout(3):
            while not end.done():
                writer.write(b"x")
                await asyncio.wait({end}, timeout=0.05)
        writer.close()
        with suppress(ConnectionResetError):
            await end


async def test_it_says_when_it_is_not_what_it_is_and_believes_nobody(server: ServerName) -> None:
    app = App()
    async with served(app, server) as (port, _):
        said = GET.replace(b"\r\n\r\n", b"\r\nX-Forwarded-For: 8.8.8.8\r\nX-Forwarded-Proto: https\r\n\r\n")
        reader, writer = await connect(port, said)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        writer.close()
    assert b"\r\ndate: " in head
    assert b"\r\nserver: " not in head
    assert app.asked[0]["client"][0] == "127.0.0.1"
    assert app.asked[0]["scheme"] == "http"


async def test_signals_are_left_to_who_serves(server: ServerName) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    async with served(App(), server) as (port, _):
        reader, writer = await connect(port, GET)
        await reader.readuntil(b"ok")
        writer.close()
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_server_that_is_not_installed_is_told_with_the_command_that_installs_it(tmp_path: Path) -> None:
    without = "import sys; sys.modules['uvicorn'] = None; from rowcast.cli import main; main()"
    settings = {"ROWCAST_DATABASE_URL": "postgresql://nowhere", "ROWCAST_REDIS_URL": "redis://nowhere"}
    for command in (["web", "--auth", "off", "--bind", "127.0.0.1:0"], ["up", "--port", "0"]):
        ended = subprocess.run(
            [sys.executable, "-c", without, *command, "--server", "uvicorn"],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=environment(PYTHONPATH=str(ROOT), **settings),
            timeout=30,
            check=False,
        )
        assert ended.returncode == 2, ended.stderr
        assert "pip install 'rowcast[uvicorn]'" in ended.stderr
