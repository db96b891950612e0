"""Which channels of a bucket are wanted, asked for and confirmed: the bookkeeping of one subscription, without its connection.

Streams are counted at the moment a command is written. A channel that is confirmed, with no SUNSUBSCRIBE behind it, is never
subscribed again: the answer would look like a reconnection that nobody asked for.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

SUBSCRIBE = b"SSUBSCRIBE"
UNSUBSCRIBE = b"SUNSUBSCRIBE"

Command = tuple[bytes, bytes]


@dataclass(slots=True)
class _Channel:
    streams: int = 0
    written: bytes = UNSUBSCRIBE  # the last command written for it on this connection
    unanswered: int = 0
    waiting: list[asyncio.Future[None]] = field(default_factory=list)

    @property
    def confirmed(self) -> bool:
        return self.written == SUBSCRIBE and self.unanswered == 0

    def release(self) -> None:
        for future in self.waiting:
            if not future.done():
                future.set_result(None)
        self.waiting.clear()


class Channels:
    """The channels of one bucket. `always` are wanted whether or not a stream asks for them."""

    def __init__(self, always: Iterable[bytes]) -> None:
        self._channels = {name: _Channel(streams=1) for name in always}
        self._changed: set[bytes] = set()
        self._asked: deque[Command] = deque()
        self._joining: set[bytes] = set()
        self._up = False
        self.asked = 0  # commands on this connection …
        self.answers = 0  # … and how many of them were answered

    def __len__(self) -> int:
        return len(self._channels)

    def add(self, name: bytes) -> None:
        """One more stream wants this channel."""
        self._channels.setdefault(name, _Channel()).streams += 1
        self._changed.add(name)

    def remove(self, name: bytes) -> None:
        """One stream fewer."""
        self._channels[name].streams -= 1
        self._changed.add(name)

    def confirmation(self, name: bytes) -> asyncio.Future[None] | None:
        """What to wait for until messages of this channel can't be missed; None: nothing.

        Nothing if there is no connection: the next one is complete only with this channel, and is followed by a re-read. A subscribe
        on its way with no unsubscribe behind it will do as well as a later one: its answer comes before any message.
        """
        channel = self._channels[name]
        if not self._up or channel.confirmed:
            return None
        future = asyncio.get_running_loop().create_future()
        channel.waiting.append(future)
        return future

    def connected(self) -> list[Command]:
        """A new connection: the commands that subscribe every channel wanted now. It is joined when all are answered."""
        self._up = True
        self._changed = set(self._channels)
        commands = self.due()
        self._joining = {name for _, name in commands}
        return commands

    def due(self) -> list[Command]:
        """The commands to write now, by the number of streams at this moment."""
        commands = []
        for name in self._changed:
            channel = self._channels.get(name)
            if channel is None:
                continue
            wanted = SUBSCRIBE if channel.streams else UNSUBSCRIBE
            if channel.written != wanted:
                channel.written = wanted
                channel.unanswered += 1
                commands.append((wanted, name))
            elif not channel.streams and not channel.unanswered:
                del self._channels[name]
        self._changed.clear()
        self._asked.extend(commands)
        self.asked += len(commands)
        return commands

    def answered(self, command: bytes, name: bytes) -> bool:
        """Take in a confirmation; False if no command of ours asked for it."""
        if not self._asked or self._asked[0] != (command, name):
            return False
        self._asked.popleft()
        self.answers += 1
        channel = self._channels[name]
        channel.unanswered -= 1
        if command == SUBSCRIBE:
            self._joining.discard(name)
        if channel.confirmed:
            channel.release()
        elif not channel.unanswered and not channel.streams:
            del self._channels[name]
        return True

    @property
    def up(self) -> bool:
        """Is there a connection?"""
        return self._up

    @property
    def joined(self) -> bool:
        """Is there a connection, with every channel confirmed that was wanted when it was made?"""
        return self._up and not self._joining

    def lost(self) -> None:
        """The connection is gone and every subscription with it; nobody waits for its answers any more."""
        self._up = False
        self.asked = self.answers = 0
        self._asked.clear()
        self._joining.clear()
        for name, channel in list(self._channels.items()):
            channel.written = UNSUBSCRIBE
            channel.unanswered = 0
            channel.release()
            if not channel.streams:
                del self._channels[name]
