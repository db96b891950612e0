"""All readers together: streams spread over processes, and questions that wait until all of them have an answer."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from urllib.parse import urlsplit

from core.errors import RowcastError
from rowcast.bench.load import reader
from rowcast.bench.load.processes import spawned
from rowcast.bench.load.reader import Opening, Progress
from rowcast.bench.parts import Part

PROCESSES = 2
_LOOK_EVERY = 0.01


class LoadError(RowcastError):
    """The load could not be made or did not come through, so there is no figure."""


class Crowd:
    """Readers of one server."""

    def __init__(self, server: Part, readers: Sequence[Connection]) -> None:
        at = urlsplit(server.url)
        self._server = server
        self._address = (str(at.hostname), int(at.port or 80))
        self._readers = list(readers)
        self._streams = [0] * len(self._readers)

    def open(
        self,
        paths: Sequence[str],
        *,
        positions: Sequence[bytes] = (),
        stamped: bool = False,
        within: float = 120,
    ) -> int:
        """Open these streams and wait until each was greeted; when the last was (ns)."""
        self.begin(paths, positions=positions, stamped=stamped)
        return self.reach(within=within).last_greeting

    def begin(self, paths: Sequence[str], *, positions: Sequence[bytes] = (), stamped: bool = False) -> None:
        """The same without waiting."""
        asked = list(zip(paths, positions or [b""] * len(paths), strict=True))
        for number, one in enumerate(self._readers):
            mine = asked[number :: len(self._readers)]
            self._streams[number] += len(mine)
            reader.ask(one, "open", Opening(self._address, mine, stamped))

    def reach(self, each: int = 0, *, within: float = 60) -> Progress:
        """Wait until every stream is greeted and they have had `each` events a stream since they were opened."""
        for one, streams in zip(self._readers, self._streams, strict=True):
            one.send(("reach", (streams, each * streams)))
        return total([self._answer(one, within) for one in self._readers])

    def reach_in_all(self, events: int, *, within: float = 60) -> Progress:
        """Wait until the streams have had so many events together, however they are spread."""
        deadline = time.monotonic() + within
        while (now := self.progress()).events < events:
            if now.lost or time.monotonic() > deadline:
                raise LoadError(
                    f"{events} events of {self._server.name} should have come within {within:.0f} s, but: {now}."
                )
            time.sleep(_LOOK_EVERY)
        return now

    def progress(self) -> Progress:
        """Where they are now."""
        return total([reader.ask(one, "progress") for one in self._readers])

    def arrivals(self) -> list[tuple[int, int]]:
        """(stamp, when it came) of each event of stamped streams, since the last time this was asked."""
        return [pair for one in self._readers for pair in reader.ask(one, "arrivals")]

    def cut(self) -> list[bytes]:
        """Reset all connections at once; their positions, in the order of the paths."""
        self._streams = [0] * len(self._readers)
        parts: list[list[bytes]] = [reader.ask(one, "cut") for one in self._readers]
        return [parts[number % len(parts)][number // len(parts)] for number in range(sum(map(len, parts)))]

    def _answer(self, one: Connection, within: float) -> Progress:
        if not one.poll(within):
            got = [reader.ask(each, "progress") for each in self._readers]
            raise LoadError(
                f"The streams of {self._server.name} did not get what they should within {within:.0f} s: {total(got)}."
            )
        answer: Progress = one.recv()
        if answer.lost:
            raise LoadError(f"{self._server.name} ended {answer.lost} streams that should have stayed open.")
        return answer


def total(parts: Iterable[Progress]) -> Progress:
    """Sums, and the latest of times."""
    made = Progress()
    for one in parts:
        made.greeted += one.greeted
        made.lost += one.lost
        made.events += one.events
        made.bytes += one.bytes
        made.last_event = max(made.last_event, one.last_event)
        made.last_greeting = max(made.last_greeting, one.last_greeting)
    return made


@contextmanager
def crowd(server: Part, *, processes: int = PROCESSES) -> Iterator[Crowd]:
    """Readers of this server, with no stream yet; gone at the end, and their streams with them."""
    with spawned(reader.main, [()] * processes) as pipes:
        yield Crowd(server, pipes)
