"""The wire form between bridge and web: what goes in comes out, the body to the byte, and what is not ours is refused."""

from __future__ import annotations

import json
import uuid
from contextlib import suppress
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.events import NOTIFICATION, Event, Range
from core.user_ids import UserIdType
from db.connect import session
from db.outbox import NOTHING_HELD, SOURCES, claim, read_range
from fanout.messages import (
    Message,
    UnreadableMessageError,
    decode_mark,
    decode_message,
    encode_mark,
    encode_message,
)
from tests.db.databases import Databases

SEQS = st.integers(0, 2**63 - 1)
USER_IDS = st.none() | st.integers(-(2**63), 2**63 - 1) | st.uuids().map(str) | st.text(min_size=1)


def body_of(user_id: Any, message: str) -> str:
    """An event as Postgres builds it."""
    event = {"id": 3, "user_id": user_id, "key": None, "message": message}
    return json.dumps(event, separators=(",", ":"), ensure_ascii=False)


@given(SEQS, SEQS, USER_IDS, st.text(), st.sampled_from([NOTIFICATION, "viewed", "updated_row"]))
def test_a_message_comes_back_as_it_was(seq: int, start: int, user_id: Any, message: str, kind: str) -> None:
    """Rule 3.2: with its seq, its kind and the `from` of its batch."""
    event = Event(seq, kind, None if user_id is None else str(user_id), body_of(user_id, message))
    payload = encode_message(event, start)
    assert decode_message(payload) == Message(event, start)
    assert json.loads(payload) == {"v": 1, "seq": seq, "from": start, "kind": kind, **json.loads(event.body)}


@given(SEQS, SEQS)
def test_a_mark_comes_back_as_it_was(start: int, end: int) -> None:
    payload = encode_mark(Range(start, end))
    assert decode_mark(payload) == Range(start, end)
    assert json.loads(payload) == {"v": 1, "from": start, "to": end}


def test_the_exact_bytes() -> None:
    event = Event(7, NOTIFICATION, "1", '{"id":3,"user_id":1}')
    assert encode_message(event, 4) == b'{"v":1,"seq":7,"from":4,"kind":"notification","id":3,"user_id":1}'
    assert encode_mark(Range(4, 7)) == b'{"v":1,"from":4,"to":7}'


@pytest.mark.parametrize(
    ("kind", "user_ids"),
    [
        (UserIdType.BIGINT, [0, -5, 2**63 - 1, None]),
        (UserIdType.UUID, [uuid.UUID(int=1), None]),
        (
            UserIdType.TEXT,
            ['"quoted"', "back\\slash", '\\"', "new\nline", "é\u2028", ",}", '","user_id":null', "null", "7"],
        ),
    ],
)
async def test_the_user_is_had_back_from_what_postgres_builds(
    databases: Databases, kind: UserIdType, user_ids: list[Any]
) -> None:
    with databases.migrated(kind) as url:
        async with (
            await psycopg.AsyncConnection.connect(url, autocommit=True) as sql,
            session(url, name="test") as bridge,
        ):
            for user_id in user_ids:
                await sql.execute("INSERT INTO notifications (user_id, message) VALUES (%s, %s)", (user_id, '"}\\'))
            done = await claim(bridge, SOURCES[0], NOTHING_HELD, batch=100)
            assert done.stamped is not None
            events = [event async for event in read_range(bridge, SOURCES[0], done.stamped)]
    assert [event.user_id for event in events] == [None if user is None else str(user) for user in user_ids]
    for event in events:
        assert decode_message(encode_message(event, 4)) == Message(event, 4)


@pytest.mark.parametrize(
    "payload",
    [
        *[b"", b"hello", b"{}", b"null", b"\xff\xfe", b'{"v":1}', b'{"v":1,"from":4,"to":7}'],
        b'{"v":2,"seq":7,"from":4,"kind":"notification","id":3,"user_id":1}',
        b'{"v":1,"seq":-7,"from":4,"kind":"notification","id":3,"user_id":1}',
        b'{"v":1,"seq":7,"from":4,"kind":"notification","user_id":1}',
        b'{"v":1,"seq":7,"from":4,"kind":"notification","id":3,"user_id":[1]}',
        b'{"v":1,"seq":7,"from":4,"kind":"notification","id":3,"user_id":12',
        b'{"v":1,"seq":7,"from":4,"kind":"notification","id":3,"user_id":"a',
    ],
)
def test_what_is_no_message_of_this_version_is_refused(payload: bytes) -> None:
    with pytest.raises(UnreadableMessageError):
        decode_message(payload)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{}",
        b'{"v":2,"from":4,"to":7}',
        b'{"v":1,"from":4}',
        b'{"v":1,"from":4,"to":-7}',
        b'{"v":1,"from":4,"to":7}x',
    ],
)
def test_what_is_no_mark_of_this_version_is_refused(payload: bytes) -> None:
    with pytest.raises(UnreadableMessageError):
        decode_mark(payload)


@given(st.binary(max_size=80))
def test_nothing_but_the_one_error_comes_of_any_bytes(payload: bytes) -> None:
    for decode in (decode_message, decode_mark):
        with suppress(UnreadableMessageError):
            decode(payload)
