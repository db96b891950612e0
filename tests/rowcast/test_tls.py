"""HTTPS: certificates that fit and that don't, their renewal, and handshakes that never end."""

from __future__ import annotations

import asyncio
import os
import ssl
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from core.clock import SystemClock
from core.errors import ConfigurationError
from rowcast.door import Bounds
from rowcast.serving import ServerName
from rowcast.tls import LOOK, SPOKEN, Certificate, certificate
from tests.certificates import make_certificate, trusting
from tests.clocks import HandClock
from tests.rowcast.served import GET, STREAM, at_kernel, served, server, stuck
from tests.rowcast.small_app import ANSWERS, App
from tests.waiting import DEADLINE, until

__all__ = ["server"]

CLOSE = b"\r\nConnection: close\r\n\r\n"


async def ask(port: int, context: ssl.SSLContext) -> tuple[str | None, str | None]:
    """Ask once over TLS: the protocol it was, by ALPN and by version."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")
    told: ssl.SSLObject = writer.get_extra_info("ssl_object")
    if told.selected_alpn_protocol() != "h2":
        writer.write(GET)
        await reader.readuntil(b"ok")
    writer.transport.abort()
    return told.selected_alpn_protocol(), told.version()


def stuck_over_tls(port: int, said: bytes, context: ssl.SSLContext) -> ssl.SSLSocket:
    """A client with room for little, that reads nothing by itself but the handshake; to be made beside the server's loop."""
    made = context.wrap_socket(stuck(port, b""), server_hostname="localhost")
    made.sendall(said)
    return made


def taken(reader: ssl.SSLSocket, enough: int) -> bytes:
    """So many bytes, or all that come."""
    got = bytearray()
    reader.settimeout(DEADLINE)
    while len(got) < enough and (piece := reader.recv(1 << 14)):
        got += piece
    return bytes(got)


async def test_https_with_the_protocols_that_the_server_speaks(server: ServerName, tmp_path: Path) -> None:
    certfile, keyfile = make_certificate(tmp_path)
    app = App()
    async with served(app, server, Bounds(tls=Certificate(certfile, keyfile, SystemClock()).context)) as (port, _):
        best = "h2" if server == "hypercorn" else "http/1.1"
        assert await ask(port, trusting(certfile, "h2", "http/1.1")) == (best, "TLSv1.3")
        assert await ask(port, trusting(certfile, "http/1.1")) == ("http/1.1", "TLSv1.3")
        assert await ask(port, trusting(certfile)) == (None, "TLSv1.3")
        old = trusting(certfile)
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        assert await ask(port, old) == (None, "TLSv1.2")
    assert {scope["scheme"] for scope in app.asked} == {"https"}


def test_files_that_are_half_renewed_before_the_first_client_comes_hurt_nobody(tmp_path: Path) -> None:
    certfile, keyfile = make_certificate(tmp_path)
    clock = HandClock()
    kept = Certificate(certfile, keyfile, clock)
    keyfile.write_text("half of a key")
    clock.advance(LOOK)
    for protocols in SPOKEN:
        assert kept.context(protocols)
    keyfile.unlink()
    clock.advance(LOOK)
    assert kept.context(SPOKEN[0])


async def test_little_waits_for_who_reads_nothing(server: ServerName, tmp_path: Path) -> None:
    """By itself asyncio keeps half a megabyte: eight times what it keeps without TLS."""
    certfile, keyfile = make_certificate(tmp_path)
    app = App()
    async with served(app, server, Bounds(tls=Certificate(certfile, keyfile, SystemClock()).context)) as (port, _):
        with await asyncio.to_thread(stuck_over_tls, port, STREAM, trusting(certfile)):
            await until(lambda: app.sent > 0)
            last = -1
            while last != app.sent:
                last = app.sent
                await ask(port, trusting(certfile))
            assert app.sent - max(at_kernel(port)) < 300_000
        await until(lambda: app.streams == 0)


@pytest.mark.slow
async def test_who_pauses_before_the_last_of_an_answer_gets_it(server: ServerName, tmp_path: Path) -> None:
    """With what is unsent in the server and not only in the kernel, and longer than a farewell may take if it is bounded to 2 s."""
    certfile, keyfile = make_certificate(tmp_path)
    asked, answer = STREAM.replace(b"/stream", b"/list").replace(b"\r\n\r\n", CLOSE), ANSWERS["/list"]
    async with served(App(), server, Bounds(tls=Certificate(certfile, keyfile, SystemClock()).context)) as (port, _):
        with await asyncio.to_thread(stuck_over_tls, port, asked, trusting(certfile)) as reader:
            got = await asyncio.to_thread(taken, reader, len(answer) - 250_000)
            await asyncio.sleep(2.5)  # this is the pause
            got += await asyncio.to_thread(taken, reader, len(answer) * 2)
    assert got.endswith(answer)


async def test_who_never_says_farewell_is_freed(
    server: ServerName, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel has taken all for it, so that it is no slow reader; the server waits for its last word."""
    monkeypatch.setattr("rowcast.door.FAREWELL_TIMEOUT", 0.3)
    certfile, keyfile = make_certificate(tmp_path)
    async with served(App(), server, Bounds(tls=Certificate(certfile, keyfile, SystemClock()).context)) as (port, _):
        with await asyncio.to_thread(stuck_over_tls, port, b"", trusting(certfile)) as reader:
            files = psutil.Process().num_fds()
            reader.sendall(GET.replace(b"\r\n\r\n", CLOSE))
            await until(lambda: psutil.Process().num_fds() < files, timeout=10)


async def test_a_stop_waits_for_no_handshake(server: ServerName, tmp_path: Path) -> None:
    certfile, keyfile = make_certificate(tmp_path)
    loop = asyncio.get_running_loop()
    async with served(App(), server, Bounds(tls=Certificate(certfile, keyfile, SystemClock()).context)) as (port, _):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        await until(lambda: len(at_kernel(port)) > 0)
        stopped = loop.time()
    assert loop.time() - stopped < 5, "no more than a stop may take"
    writer.close()


async def test_a_handshake_that_never_ends_is_ended(
    server: ServerName, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rowcast.door.HANDSHAKE_TIMEOUT", 0.3)
    certfile, keyfile = make_certificate(tmp_path)
    async with served(App(), server, Bounds(tls=Certificate(certfile, keyfile, SystemClock()).context)) as (port, _):
        for said in (b"", b"\x16\x03\x01\x02\x00", b"GET / HTTP/1.1\r\n\r\n"):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(said)
            async with asyncio.timeout(3):
                await asyncio.wait({asyncio.ensure_future(_end(reader))})
            writer.close()
        await until(lambda: not at_kernel(port), timeout=2)


async def _end(reader: asyncio.StreamReader) -> None:
    with suppress(ConnectionResetError):
        await reader.read()


def test_a_renewed_certificate_is_taken_up_and_a_broken_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rowcast.tls.LOOK", 0.0)
    certfile, keyfile = make_certificate(tmp_path)
    held = Certificate(certfile, keyfile, SystemClock())
    first = held.context(("h2",))
    assert held.context(("h2",)) is first
    certfile.write_text("half written")
    assert held.context(("h2",)) is first
    make_certificate(tmp_path)
    os.utime(keyfile)
    assert held.context(("h2",)) is not first


def test_what_is_no_certificate_is_told_with_what_to_do(tmp_path: Path) -> None:
    certfile, keyfile = make_certificate(tmp_path)
    _, other = make_certificate(tmp_path, "other")
    nonsense = tmp_path / "nonsense"
    nonsense.write_text("?")
    clock = SystemClock()
    assert certificate(None, None, clock) is None
    for one, two, words in (
        (certfile, None, "KEYFILE.*is not"),
        (None, keyfile, "CERTFILE.*is not"),
        (tmp_path / "none", keyfile, "can't read"),
        (certfile, tmp_path, "can't read"),
        (certfile, other, "is not that of"),
        (nonsense, keyfile, "PEM"),
        (certfile, nonsense, "PEM"),
    ):
        with pytest.raises(ConfigurationError, match=words):
            certificate(one, two, clock)
