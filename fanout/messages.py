"""The wire form of what goes through Redis. Version 1.

A message is the event's own JSON object with the log's members put in front:
`{"v":1,"seq":7,"from":4,"kind":"notification",` + the members of the event. So any JSON reader can read it, and the event is
had back without parsing its body. A mark is `{"v":1,"from":4,"to":7}`: all messages of (from, to] went before it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TypeAlias

from core.errors import RowcastError
from core.events import Event, Range

_VERSION = 1
_HIGHEST = 2**63 - 1  # of a bigint: what is above it Postgres can't be asked about
_MESSAGE = re.compile(r'\{"v":1,"seq":(\d{1,19}),"from":(\d{1,19}),"kind":"([a-z_]+)",', re.ASCII)
_MARK = re.compile(r'\{"v":1,"from":(\d{1,19}),"to":(\d{1,19})\}', re.ASCII)
# Postgres builds every event with these two members first.
_USER_ID = re.compile(r'\{"id":-?\d{1,19},"user_id":(null|-?\d{1,19}|"(?:[^"\\]|\\.)*")[,}]', re.ASCII)


class UnreadableMessageError(RowcastError):
    """A message on a Rowcast channel is not of a form this version reads: is another version of the bridge running?"""


@dataclass(frozen=True, slots=True)
class Message:
    """An event on its way through Redis, and where its batch began."""

    event: Event
    start: int


Mark: TypeAlias = Range


def encode_message(event: Event, start: int) -> bytes:
    """The event as published; `start` is the `from` of its batch."""
    return f'{{"v":{_VERSION},"seq":{event.seq},"from":{start},"kind":"{event.kind}",{event.body[1:]}'.encode()


def decode_message(payload: bytes) -> Message:
    """The message in `payload`; raises UnreadableMessageError."""
    text = payload.decode("utf-8", "replace")
    head = _MESSAGE.match(text)
    if head is None:
        raise UnreadableMessageError
    body = "{" + text[head.end() :]
    user = _USER_ID.match(body)
    if user is None:
        raise UnreadableMessageError
    event = Event(_seq(head[1]), head[3], _user_id(user[1]), body)
    return Message(event, _seq(head[2]))


def _seq(digits: str) -> int:
    if (seq := int(digits)) > _HIGHEST:
        raise UnreadableMessageError
    return seq


def _user_id(written: str) -> str | None:
    if written[0] != '"':
        return None if written == "null" else written
    try:
        user_id: str = json.loads(written)
    except ValueError as error:
        raise UnreadableMessageError from error
    return user_id


def encode_mark(mark: Mark) -> bytes:
    """The mark as published."""
    return f'{{"v":{_VERSION},"from":{mark.start},"to":{mark.end}}}'.encode()


def decode_mark(payload: bytes) -> Mark:
    """The mark in `payload`; raises UnreadableMessageError."""
    found = _MARK.fullmatch(payload.decode("utf-8", "replace"))
    if found is None:
        raise UnreadableMessageError
    return Mark(_seq(found[1]), _seq(found[2]))
