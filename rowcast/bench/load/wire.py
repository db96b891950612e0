"""What a reader looks for in the bytes of a stream. No parser: an event is counted by a name that its JSON has once.

Bytes come in pieces that may end anywhere; what is kept of one piece for the next is never enough to count anything twice.
"""

from __future__ import annotations

import re

# Whoever wrote the event, and in whatever order its lines are; neither a `hello` nor a heartbeat has it.
EVENT = b'"channel_type":'
HELLO = b"event: hello\n"
_ID = re.compile(rb"\nid: (\d+)\n\n")
_STAMP = re.compile(rb'"message": ?"(\d+)')
_LONGEST_HELLO = 256


class Stream:
    """What is known of one stream: whether its `hello` has come, with which id, and what was left over of the last piece."""

    __slots__ = ("_greeting", "_kept", "greeted", "last_id")

    def __init__(self) -> None:
        self._kept = self._greeting = b""
        self.greeted = False
        self.last_id = b""

    def feed(self, piece: bytes) -> int:
        """How many events end in this piece."""
        if not self.greeted:
            self._greet(piece)
        data = self._kept + piece
        self._kept = data[1 - len(EVENT) :]
        return data.count(EVENT)

    def stamps(self, piece: bytes) -> list[int]:
        """The numbers that the messages of the events in this piece begin with; a stream is fed so or the other way, not both."""
        if not self.greeted:
            self._greet(piece)
        *whole, self._kept = (self._kept + piece).split(b"\n\n")
        return [int(stamp[1]) for event in whole if EVENT in event and (stamp := _STAMP.search(event))]

    def _greet(self, piece: bytes) -> None:
        data = self._greeting + piece
        begin = data.find(HELLO)
        if begin >= 0 and (position := _ID.search(data, begin)):
            self.greeted, self.last_id, self._greeting = True, position[1], b""
        else:
            self._greeting = data[-_LONGEST_HELLO:]


def request(path: str, host: str, last_id: bytes = b"") -> bytes:
    """What a browser sends to open a stream."""
    resume = b"Last-Event-ID: " + last_id + b"\r\n" if last_id else b""
    return (
        f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: text/event-stream\r\nCache-Control: no-cache\r\n".encode()
        + resume
        + b"\r\n"
    )


def frame(user: int | None, message: str, number: int) -> bytes:
    """The bytes that Rowcast writes for a row, for those that are to write the same."""
    who = "null" if user is None else str(user)
    data = (
        f'{{"id":{number},"user_id":{who},"key":null,"message":"{message}","channel_type":"notifications_channel",'
        f'"data":null,"timestamp":"2026-01-31T12:00:00.123Z"}}'
    )
    return f"data: {data}\nid: {217468800000000 + number}\n\n".encode()
