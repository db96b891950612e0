"""Server-sent events on the wire (WHATWG HTML, 9.2.5 and 9.2.6): pure functions from values to bytes.

An event is one write, `data` first and `id` last: a client that stores the id as soon as it has parsed the line, and a connection
that breaks in between, then lose nothing. A heartbeat is one comment line without a blank line, which some clients take for an event.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence

from core.events import NOTIFICATION, Event

PIECE = 64 * 1024
HEARTBEAT = b":\n"
_KIND = re.compile("[a-z_]+")
_LINE_END = re.compile("\r\n|\r|\n")


def event(item: Event) -> bytes:
    """The frame of a stamped row. A notification has no `event:` line, every other kind has one."""
    return frame(item.body, seq=item.seq, kind=None if item.kind == NOTIFICATION else item.kind)


def pieces(items: Sequence[Event]) -> Iterator[tuple[int, bytes]]:
    """The frames of these rows in pieces of some 64 KiB, a row in one, each with the seq of its last row.

    What a client that does not read leaves waiting in a server is then a piece, not a page.
    """
    frames: list[bytes] = []
    size = 0
    for item in items:
        frames.append(event(item))
        size += len(frames[-1])
        if size >= PIECE or item is items[-1]:
            yield item.seq, b"".join(frames)
            frames, size = [], 0


def hello(seq: int) -> bytes:
    """The stream's position, once its backlog is written."""
    return frame(f'{{"seq":{seq}}}', seq=seq, kind="hello")


def reset(reason: str, oldest: int | None, seq: int) -> bytes:
    """The position the client came with is not one the log can go on from; `seq` is where it goes on."""
    data = json.dumps({"reason": reason, "oldest": oldest}, separators=(",", ":"))
    return frame(data, seq=seq, kind="reset")


def frame(data: str, *, seq: int, kind: str | None = None) -> bytes:
    """One event: data of one or more lines, an id, and a type if it is no plain message; ValueError for a type that is no plain word."""
    kind_line = "" if kind is None else _kind_line(kind)
    if "\n" in data or "\r" in data:
        data = "\ndata: ".join(_LINE_END.split(data))
    return f"data: {data}\n{kind_line}id: {seq}\n\n".encode()


def _kind_line(kind: str) -> str:
    if not _KIND.fullmatch(kind):
        raise ValueError(f"{kind!r} is no type of an event: it must be letters and _.")
    return f"event: {kind}\n"


def position(seq: int) -> bytes:
    """A block with only an id: no event fires, Last-Event-ID moves."""
    return b"id: %d\n\n" % seq


def retry(milliseconds: int) -> bytes:
    """How long the client is to wait before it reconnects."""
    return b"retry: %d\n\n" % milliseconds
