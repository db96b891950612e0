"""What only a process knows of itself: how many tasks it runs, and how many events it dropped because it had handed them out before.

Python imports this by its name when it starts, in the Rowcast processes of an ensemble and nowhere else: this folder is on their PYTHONPATH.
Once a second a thread writes both, as JSON, to the file of the process's number in the folder $CHAOS_INSIDE.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

EVERY = 1.0


class Inside:
    """Looks at this process from a thread of its own."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / str(os.getpid())
        self.loop: asyncio.AbstractEventLoop | None = None
        self._counted = False
        self.doubles = 0

    def run(self) -> None:
        """Write for ever."""
        while True:
            time.sleep(EVERY)
            with suppress(OSError, RuntimeError):  # the folder goes at the end; tasks may change while they are counted
                self._write()

    def _write(self) -> None:
        if self.loop is None:
            return  # it is still starting, and its modules may be half loaded
        if not self._counted and "web.bucket" in sys.modules:
            self._counted = True
            self._count_doubles()
        tasks = len(asyncio.all_tasks(self.loop))
        new = self._file.with_suffix(".new")
        new.write_text(json.dumps({"tasks": tasks, "doubles": self.doubles}), "ascii")
        new.replace(self._file)

    def _count_doubles(self) -> None:
        """Both places that drop what is not above the last: a bucket handling a message, a stream taking from its mailbox."""
        bucket, mailbox = sys.modules["web.bucket"].Bucket, sys.modules["web.mailbox"].Mailbox
        message = sys.modules["fanout.messages"].Message
        handle: Callable[[Any], bool] = bucket._handle_next
        take: Callable[[Any, int], list[Any]] = mailbox.take_above

        def handle_and_count(self: Any) -> bool:
            item, position = self._inbox[0][0], self.position
            handled = handle(self)
            inside.doubles += handled and isinstance(item, message) and item.event.seq <= position
            return handled

        def take_and_count(self: Any, last: int) -> list[Any]:
            waiting = len(self._queue)
            taken = take(self, last)
            inside.doubles += waiting - len(taken)
            return taken

        bucket._handle_next, mailbox.take_above = handle_and_count, take_and_count


if "CHAOS_INSIDE" in os.environ:
    inside = Inside(Path(os.environ["CHAOS_INSIDE"]))
    _run_forever = asyncio.BaseEventLoop.run_forever

    def run_forever(self: asyncio.BaseEventLoop) -> None:
        """Say which loop it is. (To look for it among all objects from another thread is not safe: it breaks tuples that are being made.)"""
        inside.loop = self
        _run_forever(self)

    asyncio.BaseEventLoop.run_forever = run_forever  # type: ignore[method-assign]
    threading.Thread(target=inside.run, name="inside", daemon=True).start()
