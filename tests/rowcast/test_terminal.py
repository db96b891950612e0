"""Text of others is no command to a terminal."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rowcast.event_lines import for_people, for_programs
from rowcast.terminal import safe, safe_json, safe_lines

ESCAPES = [
    "\x1b[2J",  # clear
    "\x1b]52;c;aGVsbG8=\x07",  # OSC 52: write the clipboard
    "\x9b31m",  # CSI in one character
    "\x9d0;title\x9c",  # OSC in one character
    "\x07\x08\x0b\x0c\x7f\x85\0",
    "\u202e\u2066\u2069\u200b\u200f\ufeff",  # order turned around, nothing seen
    "\u2028\u2029\r\n",
    "\ud800",
    "\U000e0041",  # a tag: text that nobody sees
]
HOSTILE = st.text(st.characters()) | st.lists(st.sampled_from(ESCAPES) | st.text(max_size=3), max_size=6).map("".join)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | HOSTILE,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(HOSTILE, inner, max_size=3),
    max_leaves=6,
)
_OURS = ["\x1b[0m", *(f"\x1b[{code}m" for code in [1, 2, 33, 34, 35, 36])]


def steers(text: str) -> bool:
    """Is there anything but what is seen, and our own colours?"""
    for colour in _OURS:
        text = text.replace(colour, "")
    return any(unicodedata.category(char)[0] == "C" or unicodedata.category(char) in {"Zl", "Zp"} for char in text)


@given(HOSTILE)
def test_nothing_that_is_not_seen_is_left(text: str) -> None:
    assert not steers(safe(text))
    assert not steers(safe_lines(text).replace("\n", ""))
    assert safe_lines(text).count("\n") == text.count("\n")


@given(VALUES, st.booleans())
def test_json_means_the_same(value: Any, indented: bool) -> None:
    written = json.dumps(value, ensure_ascii=False, indent=1 if indented else None)
    assert not steers(safe_json(written))
    assert json.loads(safe_json(written)) == value


@given(
    HOSTILE,
    st.dictionaries(
        st.sampled_from(["message", "key", "channel_type", "timestamp", "data", "reason", "user_id"]), VALUES
    ),
)
def test_no_event_steers_the_terminal(kind: str, fields: dict[str, Any]) -> None:
    data = json.dumps(fields, ensure_ascii=False)
    for line in (for_people(kind, data), for_programs(kind, data, "7")):
        assert line is None or not steers(line)


@given(HOSTILE, HOSTILE, HOSTILE)
def test_nor_does_what_is_no_event_of_ours(kind: str, data: str, seq: str) -> None:
    """`--url` may lead to any server."""
    for line in (for_people(kind, data), for_programs(kind, data, seq)):
        assert line is None or not steers(line)


@pytest.mark.parametrize("data", ["[1]", "no JSON", '"text"', "null", "7"])
def test_a_program_gets_an_object_whatever_the_server_sent(data: str) -> None:
    assert json.loads(str(for_programs("message", data, "x"))) == {"seq": None, "data": data}
    assert for_people("message", data)


def test_text_that_is_seen_stays() -> None:
    for text in ("héllo wörld", "日本語", "שלום", "👍🏽", 'quotes " and \\'):
        assert safe(text) == safe_lines(text) == text
        assert safe_json(json.dumps(text, ensure_ascii=False)) == json.dumps(text, ensure_ascii=False)
