"""When the machine itself was too busy to run the parts of a run: nobody can be on time then, so the judge must know.

Linux tells for each process how long it was ready to run and was not let (/proc/PID/schedstat); elsewhere nothing is known.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.chaos.records import Notebook, Window, now

NAME = "no processor"
EVERY = 0.5
# The share of a stretch of time for which a process wanted to run and was not let, from which on it counts as starved.
SHARE = 0.4


async def watch(pids: Callable[[], Iterable[int]], book: Notebook) -> None:
    """Look for ever; each stretch in which one of these processes was starved is written down as a window."""
    at, before = now(), _waited(pids())
    while True:
        await asyncio.sleep(EVERY)
        then, at = at, now()
        after = _waited(pids())
        worst = max((after[pid] - before[pid] for pid in after.keys() & before.keys()), default=0.0)
        if worst > SHARE * (at - then):
            book.note(Window(NAME, then, then, at))
        before = after


def _waited(pids: Iterable[int]) -> dict[int, float]:
    """Seconds for which each had to wait for a processor."""
    found = {}
    for pid in pids:
        try:
            words = Path(f"/proc/{pid}/schedstat").read_text("ascii").split()
        except OSError:
            continue
        found[pid] = int(words[1]) / 1e9
    return found
