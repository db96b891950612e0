"""Server-sent events on the wire (WHATWG HTML, 9.2.5 and 9.2.6): pure functions from values to bytes.

An event is one write, `data` first and `id` last: a client that stores the id as soon as it has parsed the line, and a connection
that breaks in between, then lose nothing. A heartbeat is one comment line without a blank line, which some clients take for an event.
"""

from __future__ import annotations

import json
import re

from core.events import NOTIFICATION, Event

HEARTBEAT = b":\n"
_LINE_END = re.compile("\r\n|\r|\n")


def event(item: Event) -> bytes:
    """The frame of a stamped row. A notification has no `event:` line, every other kind has one."""
    return frame(item.body, seq=item.seq, kind=None if item.kind == NOTIFICATION else item.kind)


def hello(seq: int) -> bytes:
    """The stream's position, once its backlog is written."""
    return frame(f'{{"seq":{seq}}}', seq=seq, kind="hello")


def reset(reason: str, oldest: int | None, seq: int) -> bytes:
    """The position the client came with is not one the log can go on from; `seq` is where it goes on."""
    data = json.dumps({"reason": reason, "oldest": oldest}, separators=(",", ":"))
    return frame(data, seq=seq, kind="reset")


def frame(data: str, *, seq: int, kind: str | None = None) -> bytes:
    """One event: data of one or more lines, an id, and a type if it is no plain message. `kind` has no line end in it."""
    lines = [f"data: {line}" for line in _LINE_END.split(data)]
    if kind is not None:
        lines.append(f"event: {kind}")
    return ("\n".join(lines) + f"\nid: {seq}\n\n").encode()


def position(seq: int) -> bytes:
    """A block with only an id: no event fires, Last-Event-ID moves."""
    return b"id: %d\n\n" % seq


def retry(milliseconds: int) -> bytes:
    """How long the client is to wait before it reconnects."""
    return b"retry: %d\n\n" % milliseconds
