"""A connection between a process and a modelled server: what is on its way up, and what is on its way down.

Nothing moves by itself. Whoever drives the world has the server take what came up (`serve`), the client's kernel what came down
(`deliver`); may hold the wire, or cut it with anything still on it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from tests.model.loop import PROCESS, Process

Item = Any
END: Item = "end of the connection"


class Peer(Protocol):
    """The server's end of a wire."""

    def take(self, wire: Wire, item: Item) -> None:
        """Handle what came up; answers go to `wire.down`."""

    def gone(self, wire: Wire) -> None:
        """The client is not there any more."""


@dataclass(eq=False)
class Wire:
    """`up` and `down` hold what is on its way; `inbox` what the client has but did not read yet."""

    name: str
    process: Process
    peer: Peer
    pace: float = 1.0  # how soon it is chosen, beside others
    up: deque[Item] = field(default_factory=deque)
    down: deque[Item] = field(default_factory=deque)
    inbox: deque[Item] = field(default_factory=deque)
    held: bool = False
    open: bool = True  # as the client sees it
    served: bool = True  # as the server sees it
    on_inbox: Callable[[], None] = lambda: None
    _reader: asyncio.Future[None] | None = None

    def __repr__(self) -> str:
        return f"{self.process} {self.name}"

    @property
    def over(self) -> bool:
        """Is there nothing left of it?"""
        return not (self.up or self.down or self.open or self.served)

    # The client's end, called in its process

    def send(self, item: Item) -> None:
        if self.open:
            self.up.append(item)

    async def receive(self) -> Item:
        """The next item; END once the connection is gone and all is read."""
        while not self.inbox:
            if not self.open:
                return END
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        return self.inbox.popleft()

    def close(self) -> None:
        """The client closes it, or its kernel does after a kill: the server hears of it after all that is on its way."""
        if self.open:
            self.open = False
            self.up.append(END)
            self.wake()

    def wake(self) -> None:
        """Have a waiting reader look again."""
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)
        self.on_inbox()

    # The network and the server, called by the driver

    def serve(self, count: int = 1) -> None:
        """The server takes up to `count` items."""
        while self.up and count and self.served:
            count -= 1
            item = self.up.popleft()
            if item is END:
                self.drop()
            else:
                self.peer.take(self, item)
        if not self.served:
            self.up.clear()

    def deliver(self, count: int = 1) -> None:
        """The client's kernel gets up to `count` items."""
        while self.down and count:
            count -= 1
            item = self.down.popleft()
            if item is END:
                self.break_client()
            elif self.open:
                self.inbox.append(item)
                self.wake()

    def hold(self) -> None:
        """Nothing passes; nobody is told."""
        self.held = True

    def drop(self) -> None:
        """The server is done with it; what it sent may still arrive."""
        if self.served:
            self.served = False
            self.up.clear()
            self.peer.gone(self)

    def end(self) -> None:
        """The server ends it: the client hears of it behind what is on its way."""
        if self.served:
            self.drop()
            self.down.append(END)

    def break_client(self) -> None:
        self.open = False
        self.down.clear()
        self.wake()

    def cut(self, reaching: int) -> None:
        """A reset on both sides; so many of the items on their way up still reach the server, none of those on their way down."""
        if self.served:
            self.up = deque(list(self.up)[:reaching])
            self.up.append(END)
        self.break_client()


def current_process() -> Process:
    """The process that runs now."""
    return PROCESS.get()
