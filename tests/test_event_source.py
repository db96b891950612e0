"""The tests' own EventSource does what browsers do: the cases of the web-platform-tests' `format-*`, by the text of WHATWG HTML 9.2.6.

Each case is fed whole, cut in two at every byte, and byte by byte.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.event_source import Dispatched, Parser

LONG = "x" * 2048
BOM = b"\xef\xbb\xbf"


def plain(*data: str, last: str = "") -> list[Dispatched]:
    """Untyped events with these data."""
    return [Dispatched("message", text, last) for text in data]


CASES: dict[str, tuple[bytes, list[Dispatched]]] = {
    "format-bom": (BOM + b"data:1\n\n" + BOM + b"data:2\n\ndata:3\n\n", plain("1", "3")),
    "format-bom-2": (BOM + BOM + b"data:1\n\ndata:2\n\ndata:3\n\n", plain("2", "3")),
    "format-comments": (
        f"data:1\r:\0\n:\r\ndata:2\n:{LONG}\rdata:3\n:data:fail\r:{LONG}\ndata:4\n\n".encode(),
        plain("1\n2\n3\n4"),
    ),
    "format-data-before-final-empty-line": (b"retry:1000\ndata:test1\n\nid:test\ndata:test2", plain("test1")),
    "format-field-data": (b"data:\n\ndata\ndata\n\ndata:test\n\n", plain("", "\n", "test")),
    "format-field-event": (
        b"event:test\ndata:x\n\ndata:x\n\n",
        [Dispatched("test", "x", ""), Dispatched("message", "x", "")],
    ),
    "format-field-event-empty": (b"event: \ndata:data\n\n", plain("data")),
    "format-field-event without data": (b"event:lost\n\ndata:x\n\n", plain("x")),
    "format-field-id": ("id: …\ndata:hello\n\n".encode(), plain("hello", last="…")),
    "format-field-id-3 persists": (b"id: 1\ndata: 1\n\ndata: 2\n\n", plain("1", "2", last="1")),
    "format-field-id-3 changes": (
        b"id: 1\ndata: 1\n\nid: 2\ndata: 2\n\ndata: 3\n\n",
        plain("1", last="1") + plain("2", "3", last="2"),
    ),
    "format-field-id-3 resets": (
        b"id: 1\ndata: 1\n\nid:\ndata: 2\n\ndata: 3\n\n",
        plain("1", last="1") + plain("2", "3"),
    ),
    "format-field-id-null": (b"id: 1\nid: 2\0\ndata: x\n\n", plain("x", last="1")),
    "format-field-parsing": (
        b"data:\0\ndata:  2\rData:1\ndata\0:2\ndata:1\r\0data:4\nda-ta:3\rdata_5\ndata:3\rdata:\r\n data:32\ndata:4\n\n",
        plain("\0\n 2\n1\n3\n\n4"),
    ),
    "format-field-unknown": (
        b"data:test\n data\ndata\nfoobar:xxx\njustsometext\n:thisisacommentyay\ndata:test\n\n",
        plain("test\n\ntest"),
    ),
    "format-leading-space": (b"data:\ttest\rdata: \ndata:test\n\n", plain("\ttest\n\ntest")),
    "format-newlines": (b"data:test\r\ndata\ndata:test\r\n\r\n", plain("test\n\ntest")),
    "format-newlines, CR only": (b"data:a\rdata:b\r\rdata:c\r\r", plain("a\nb", "c")),
    "format-null-character": (b"data:\0\n\n", plain("\0")),
    "format-utf-8": ("data:ok…\n\n".encode(), plain("ok…")),
    "not UTF-8": (b"data:a\xffb\n\n", plain("a\ufffdb")),
    "other separators are text": (
        "data:a\u2028b\u2029c\x0bd\x0ce\x85f\n\n".encode(),
        plain("a\u2028b\u2029c\x0bd\x0ce\x85f"),
    ),
    "the rest is discarded": (b"data:a\n\ndata:b\n", plain("a")),
    "a colon in the value": (b"data:a:b\n\n", plain("a:b")),
    "a heartbeat is no event": (b":\n:\ndata:a\n:\n\n", plain("a")),
}


def cuts(stream: bytes) -> Iterator[list[bytes]]:
    yield [stream]
    yield [stream[n : n + 1] for n in range(len(stream))]
    for n in range(len(stream)) if len(stream) < 1000 else range(len(stream) - 100, len(stream)):
        yield [stream[:n], stream[n:]]


@pytest.mark.parametrize(("stream", "expected"), CASES.values(), ids=CASES)
def test_the_stream_is_read_as_browsers_do_wherever_it_is_cut(stream: bytes, expected: list[Dispatched]) -> None:
    for chunks in cuts(stream):
        parser = Parser()
        assert [event for chunk in chunks for event in parser.feed(chunk)] == expected


def test_a_block_with_only_an_id_fires_nothing_and_moves_the_position() -> None:
    """wpt format-field-id-2; the standard sets the last event ID before it looks at the data."""
    parser = Parser("1")
    assert parser.feed(b"id: 2\n") == []
    assert parser.last_event_id == "1"
    assert parser.feed(b"\n") == []
    assert parser.last_event_id == "2"
    assert parser.feed(b"data: x\n\n") == plain("x", last="2")


def test_an_unfinished_block_moves_nothing() -> None:
    parser = Parser("1")
    parser.feed(b"data: x\nid: 2\n")
    assert parser.last_event_id == "1"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        *[(b"retry:3000\n", 3000), (b"retry: 3000\r", 3000), (b"retry:007\n", 7)],
        *[(b"retry:2000\nretry:1000x\n", 2000), (b"retry\n", None), (b"retry:\n", None), (b"retry:-1\n", None)],
        ("retry:٣\n".encode(), None),
    ],
)
def test_retry_takes_digits_only(lines: bytes, expected: int | None) -> None:
    """wpt format-field-retry, -retry-bogus, -retry-empty."""
    parser = Parser()
    assert parser.feed(lines) == []
    assert parser.retry == expected


@given(
    st.lists(
        st.sampled_from([b"data", b"id", b":", b" ", b"\r", b"\n", b"\r\n", b"a", BOM, b"\xc3\xa9", b"\0"]), max_size=30
    ),
    st.data(),
)
def test_how_the_bytes_come_makes_no_difference(pieces: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(pieces)
    whole = Parser()
    expected = whole.feed(stream)
    at = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=5)))
    parser = Parser()
    events = [
        e for start, end in zip([0, *at], [*at, len(stream)], strict=True) for e in parser.feed(stream[start:end])
    ]
    assert (events, parser.last_event_id) == (expected, whole.last_event_id)
