"""Listening sockets: every form of an address, and whom it lets in."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.errors import ConfigurationError, RowcastError
from rowcast.sockets import http_address, is_loopback, listen, parse_bind


@contextlib.contextmanager
def listening(text: str) -> Iterator[list[socket.socket]]:
    sockets = listen(parse_bind(text))
    try:
        yield sockets
    finally:
        for made in sockets:
            made.close()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "8000",
        ":8000",
        "host",
        "127.0.0.1:",
        "127.0.0.1:65536",
        "127.0.0.1:x",
        "::1:8000",
        "[::1]",
        "fd://",
        "fd://x",
        "a b:1",
    ],
)
def test_what_is_no_address_is_told_with_an_example(text: str) -> None:
    with pytest.raises(ConfigurationError):
        parse_bind(text)


def test_a_name_without_an_address_is_told() -> None:
    with pytest.raises(ConfigurationError, match=r"no\.such\.host\.invalid"):
        parse_bind("no.such.host.invalid:80")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:0", True),
        ("127.9.9.9:80", True),
        ("[::1]:80", True),
        ("localhost:80", True),
        ("[::ffff:127.0.0.1]:80", True),
        ("0.0.0.0:80", False),
        ("[::]:80", False),
        ("192.0.2.1:80", False),
        ("[2001:db8::1]:80", False),
        ("[::ffff:192.0.2.1]:80", False),
    ],
)
def test_loopback_is_told_from_the_rest(text: str, expected: bool) -> None:
    assert is_loopback(parse_bind(text)) is expected


@pytest.mark.parametrize("text", ["127.0.0.1:0", "[::1]:0", "localhost:0"])
def test_port_0_becomes_a_real_port_that_answers(text: str) -> None:
    with listening(text) as sockets:
        ports = {made.getsockname()[1] for made in sockets}
        assert len(ports) == 1
        assert ports != {0}
        for made in sockets:
            with socket.create_connection(made.getsockname()[:2]):
                pass


def test_addresses_are_told_as_urls() -> None:
    with listening("127.0.0.1:0") as (four,), listening("[::1]:0") as (six,):
        assert http_address(four) == f"http://127.0.0.1:{four.getsockname()[1]}"
        assert http_address(six) == f"http://[::1]:{six.getsockname()[1]}"


@pytest.mark.parametrize("abstract", [False, True], ids=["path", "abstract"])
def test_a_unix_socket_is_this_machine_s_and_told_by_its_name(tmp_path: Path, *, abstract: bool) -> None:
    if abstract and sys.platform != "linux":
        pytest.skip("only Linux has abstract ones")
    name = f"{tmp_path}/s"
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(f"\0{name}" if abstract else name)
        text = f"fd://{made.fileno()}"
        assert is_loopback(parse_bind(text))
        with listening(text) as (handed,):
            assert http_address(handed) == f"unix:{'@' if abstract else ''}{name}"


def test_a_port_in_use_is_told_with_what_to_do() -> None:
    with (
        listening("127.0.0.1:0") as (first,),
        pytest.raises(RowcastError, match=r"another program has that port.*--bind"),
    ):
        listen(parse_bind(f"127.0.0.1:{first.getsockname()[1]}"))


def test_an_address_of_another_machine_is_told() -> None:
    with pytest.raises(RowcastError, match=r"192\.0\.2\.1:0"):
        listen(parse_bind("192.0.2.1:0"))


def test_sockets_that_are_handed_over_stay_open_for_who_hands_them_over() -> None:
    with listening("127.0.0.1:0") as (first,), listening("[::1]:0") as (second,):
        text = f"fd://{first.fileno()},{second.fileno()}"
        assert is_loopback(parse_bind(text))
        with listening(text) as handed:
            assert [made.getsockname() for made in handed] == [first.getsockname(), second.getsockname()]
        os.fstat(first.fileno())
        os.fstat(second.fileno())


def test_a_descriptor_that_is_no_socket_is_told() -> None:
    with open(os.devnull) as file, pytest.raises(ConfigurationError, match="no socket"):  # noqa: PTH123
        listen(parse_bind(f"fd://{file.fileno()}"))


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="this platform has no such limit")
def test_a_peer_that_stops_reading_is_dropped_in_time() -> None:
    with listening("127.0.0.1:0") as (made,), socket.create_connection(made.getsockname()):
        made.setblocking(True)
        accepted, _ = made.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000
