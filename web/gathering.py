"""In a flood a stream's events are gathered, to go out in one write: a write costs as much as handling several events.

A stream that had nothing to write for a while gets its event at once. One that wrote events a moment ago is left asleep for as long as
events come in masses, to all buckets together, until there are enough for a write or it has waited long enough.
"""

from __future__ import annotations

import asyncio

from core.clock import Clock
from web.mailbox import Mailbox

# So many items, or bytes, in one turn of the event loop are a flood. Writers of single rows come near it only when they are many and flat out.
FLOOD_ITEMS, FLOOD_BYTES = 128, 32 << 10
# Seconds: how long a stream waits at most, and after how long without events it does not wait.
LONGEST = 0.2
# Events for each stream that waits, on average.
ENOUGH = 8
# Seconds. A flood is over when twice so long no bucket had a turn; once may be only a long turn of the event loop.
GAP = 0.003


class Gathering:
    """The mailboxes whose streams have events and are still to be woken. One for all buckets, in a running event loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._asleep: dict[Mailbox, None] = {}
        self._events = 0
        self._since = 0.0
        self._flood = False
        # Of this turn of the event loop
        self._items = self._size = 0
        self._deciding = False
        # Since the last turn of a bucket
        self._gaps = 0
        self._watching = False

    def note(self, mailbox: Mailbox, now: float) -> None:
        """There is an event for this stream: wake it, or have it wait."""
        if now - mailbox.took > LONGEST:
            mailbox.wake()
            return
        if not self._asleep:
            self._since = now
        self._asleep[mailbox] = None
        self._events += 1

    def end_turn(self, items: int, size: int) -> None:
        """A bucket has handled so many items and bytes: wake who waits, unless it is better to go on gathering."""
        self._items += items
        self._size += size
        self._gaps = 0
        if not self._deciding:
            self._deciding = True
            asyncio.get_running_loop().call_soon(self._decide)
        if not self._flood and not _is_flood(items, size):
            self.end()

    def end(self) -> None:
        """Wake all who wait."""
        for mailbox in self._asleep:
            mailbox.wake()
        self._asleep.clear()
        self._events = 0

    def _decide(self) -> None:
        """All buckets have had their turns."""
        self._flood = _is_flood(self._items, self._size)
        self._items = self._size = 0
        self._deciding = False
        enough = self._events >= ENOUGH * len(self._asleep)
        if not self._flood or enough or self._clock.now() - self._since >= LONGEST:
            self.end()
        elif not self._watching:
            self._watch()

    def _watch(self) -> None:
        self._watching = True
        asyncio.get_running_loop().call_later(GAP, self._look)

    def _look(self) -> None:
        self._watching = False
        self._gaps += 1
        if self._gaps > 1:
            self._flood = False
            self.end()
        elif self._asleep:
            self._watch()


def _is_flood(items: int, size: int) -> bool:
    return items >= FLOOD_ITEMS or size >= FLOOD_BYTES
