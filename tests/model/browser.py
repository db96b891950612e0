"""One EventSource: connects, is cut at any byte, comes back with Last-Event-ID to any web process, and keeps all it was given."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.event_source import Parser
from tests.model.parts import Response, WebPart
from web.stream import Since, Start


class Got(NamedTuple):
    """An event as the page got it: its id, the row's name, and whom it is for (None: everyone)."""

    seq: int
    text: str
    user: str | None


class Skip(NamedTuple):
    """A reset: from where the page was, to where it goes on."""

    reason: str
    position: int | None
    to: int
    events: int  # how many it had got by then


@dataclass(eq=False)
class Browser:
    """`first` is where it wants to start; `origin` the position it got to know first: everything above is owed to it;
    `told` the first that the server sent.
    """

    name: str
    user: str
    first: Start
    pruned: Callable[[], int] = lambda: 0
    parser: Parser = field(default_factory=Parser)
    response: Response | None = None
    web: WebPart | None = None
    got: list[Got] = field(default_factory=list)
    resets: list[Skip] = field(default_factory=list)
    origin: int | None = None
    told: int | None = None
    connections: int = 0

    def __post_init__(self) -> None:
        if self.first is Since.ALL:
            self.origin = 0
        elif isinstance(self.first, int):
            self.origin = self.first

    def __repr__(self) -> str:
        return self.name

    @property
    def connected(self) -> bool:
        """Has it a response that may still bring something?"""
        return self.response is not None

    @property
    def position(self) -> int | None:
        """The id it would come back with."""
        return int(self.parser.last_event_id) if self.parser.last_event_id else None

    def connect(self, web: WebPart) -> None:
        position = self.position
        self.parser = Parser(self.parser.last_event_id)
        self.web = web
        self.connections += 1
        self.response = web.open(self.user, self.first if position is None else position)

    def read(self, length: int | None = None) -> None:
        """The next chunk, or its first `length` bytes."""
        assert self.response is not None
        before = self.position
        for event in self.parser.feed(self.response.read()[:length]):
            data = json.loads(event.data)
            seq = int(event.last_event_id)
            match event.type:
                case "message":
                    user = data["user_id"]
                    self.got.append(Got(seq, data["message"].split()[0], None if user is None else str(user)))
                case "reset":
                    self.resets.append(Skip(data["reason"], before, seq, len(self.got)))
            before = seq
        if self.told is None and self.position is not None:
            # What was said to be gone by then may be there in part.
            self.told = max(self.position, self.pruned())
        if self.origin is None:
            self.origin = self.position

    def cut(self) -> None:
        """The connection is gone."""
        if self.web is not None and self.response is not None:
            self.web.hang_up(self.response)
        self.response = None

    def notice(self) -> None:
        """The server ended it, and everything is read."""
        self.response = None
