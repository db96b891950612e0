"""The encoder's bytes, and that every client reads back what went in."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.events import NOTIFICATION, Event
from tests.event_source import Dispatched, Parser
from web import sse

SEQS = st.integers(0, 2**63 - 1)
# What Postgres can hold: no lone surrogates. NUL it can't, and passes all the same.
TEXTS = st.text() | st.text(alphabet="\r\n\u2028\u2029\x85\x0b\x0c\0:a \ufeff")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


def read(chunk: bytes) -> list[Dispatched]:
    """What an EventSource dispatches, fed whole and byte by byte."""
    parser, slow = Parser(), Parser()
    events = parser.feed(chunk)
    assert [event for n in range(len(chunk)) for event in slow.feed(chunk[n : n + 1])] == events
    return events


@pytest.mark.parametrize(
    ("chunk", "expected"),
    [
        (sse.event(Event(7, NOTIFICATION, "1", '{"id":3}')), b'data: {"id":3}\nid: 7\n\n'),
        (sse.event(Event(7, "viewed", None, "{}")), b"data: {}\nevent: viewed\nid: 7\n\n"),
        (sse.hello(217468800000007), b'data: {"seq":217468800000007}\nevent: hello\nid: 217468800000007\n\n'),
        (sse.reset("pruned", 9, 8), b'data: {"reason":"pruned","oldest":9}\nevent: reset\nid: 8\n\n'),
        (sse.reset("future", None, 0), b'data: {"reason":"future","oldest":null}\nevent: reset\nid: 0\n\n'),
        (sse.position(7), b"id: 7\n\n"),
        (sse.retry(2500), b"retry: 2500\n\n"),
        (sse.HEARTBEAT, b":\n"),
        (sse.frame("a\nb", seq=1), b"data: a\ndata: b\nid: 1\n\n"),
        (sse.frame("", seq=1), b"data: \nid: 1\n\n"),
        (sse.frame("é", seq=1), b"data: \xc3\xa9\nid: 1\n\n"),
    ],
)
def test_the_exact_bytes(chunk: bytes, expected: bytes) -> None:
    """Data first and id last (design.md, wire form): a client that stores an id as it reads it loses nothing in between."""
    assert chunk == expected


@given(JSON, SEQS)
def test_any_json_comes_back_unchanged(value: Any, seq: int) -> None:
    body = json.dumps(value, ensure_ascii=False)
    assert read(sse.frame(body, seq=seq)) == [Dispatched("message", body, str(seq))]
    assert json.loads(body) == value


@given(TEXTS, SEQS)
def test_any_text_comes_back_with_its_line_ends_as_line_feeds(text: str, seq: int) -> None:
    """CRLF, CR and LF end lines in SSE, nothing else does: U+2028, U+2029, NEL, VT, FF and NUL stay what they are."""
    expected = re.sub("\r\n|\r", "\n", text)
    assert read(sse.frame(text, seq=seq, kind="viewed")) == [Dispatched("viewed", expected, str(seq))]


@given(st.lists(st.tuples(TEXTS, SEQS), max_size=4))
def test_nothing_in_an_event_spills_into_the_next(items: list[tuple[str, int]]) -> None:
    stream = b"".join(sse.frame(text, seq=seq) + sse.HEARTBEAT + sse.retry(1) for text, seq in items)
    assert [event.last_event_id for event in read(stream)] == [str(seq) for _, seq in items]


def test_position_and_heartbeat_fire_nothing() -> None:
    parser = Parser()
    assert parser.feed(sse.retry(2500) + sse.HEARTBEAT + sse.position(9) + sse.HEARTBEAT) == []
    assert (parser.last_event_id, parser.retry) == ("9", 2500)


@given(TEXTS, SEQS)
def test_a_type_with_anything_but_letters_is_no_event(kind: str, seq: int) -> None:
    """No CR, LF or NUL reaches an event field, whoever calls."""
    if re.fullmatch("[a-z_]+", kind):
        assert read(sse.frame("x", seq=seq, kind=kind)) == [Dispatched(kind, "x", str(seq))]
    else:
        with pytest.raises(ValueError, match="no type"):
            sse.frame("x", seq=seq, kind=kind)


@given(st.sampled_from([NOTIFICATION, "viewed", "updated", "withdrawn", "attached"]), TEXTS, SEQS)
def test_ids_and_types_are_one_plain_line_whatever_the_body(kind: str, body: str, seq: int) -> None:
    """The whole frame of every kind: its lines are data lines, one type, one id of digits."""
    for chunk in (sse.event(Event(seq, kind, "1", body)), sse.reset(body, seq, seq), sse.hello(seq), sse.position(seq)):
        *lines, id_line, end, rest = re.split("\r\n|\r|\n", chunk.decode())
        assert re.fullmatch("id: [0-9]+", id_line)
        assert (end, rest) == ("", "")
        types = [line for line in lines if not line.startswith("data: ")]
        assert types in ([], [f"event: {kind}"], ["event: reset"], ["event: hello"])
