"""A process that inserts rows, one a commit: as fast as its sessions can, or when they are due."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection

from core.errors import RowcastError
from db.queries import query
from rowcast.bench.load.processes import spawned
from rowcast.bench.load.sessions import Committed, Parameters, Sessions
from rowcast.bench.reckoning import NS

_CONNECT_WITHIN = 30.0


@dataclass(frozen=True, slots=True)
class Work:
    """`due` (ns after the beginning): rows whose message is the time they were due; without it flat out for `seconds`.

    Users come in turn. `before`: names of queries that each session says first.
    """

    database_url: str
    sessions: int
    users: Sequence[int]
    due: Sequence[int] = ()
    seconds: float = 0.0
    before: tuple[str, ...] = ()


def main(parent: Connection, work: Work) -> None:
    """What the process runs: connect, say so; then, as often as it is told to begin, answer with all commits. Ctrl-C is the parent's affair."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        before = [query(name).as_bytes(None) for name in work.before]
        sessions = Sessions(work.database_url, work.sessions, before)
        parent.send(None)
        while True:
            begin, insert = parent.recv()
            sessions.use(query(insert).as_bytes(None))
            parent.send(_write(sessions, work, begin))
    except EOFError:
        return
    except RowcastError as error:
        parent.send(error)


def _write(sessions: Sessions, work: Work, begin: int) -> list[Committed]:
    users = [str(user).encode() for user in work.users]
    due = [begin + after for after in work.due]

    def unstamped(number: int) -> Parameters:
        return [users[number % len(users)], b"x"]

    def stamped(number: int) -> Parameters:
        return [users[number % len(users)], b"%d" % due[number]]

    if due:
        return sessions.on_time(due, stamped)
    return sessions.flat_out(begin + round(work.seconds * NS), unstamped)


class Writers:
    """Processes that are connected and wait for `go`."""

    def __init__(self, pipes: list[Connection]) -> None:
        self._pipes = pipes

    def go(self, begin: int, insert: str) -> None:
        """Begin to write at this time (ns); `insert` is the name of a query."""
        for pipe in self._pipes:
            pipe.send((begin, insert))

    def commits(self, within: float = 60) -> list[Committed]:
        """Everything that was committed, once all are done."""
        return [one for pipe in self._pipes for one in _answer(pipe, within)]

    def write(self, insert: str) -> list[Committed]:
        """Begin now, and wait for the end."""
        self.go(time.monotonic_ns(), insert)
        return self.commits()


def _answer(pipe: Connection, within: float) -> list[Committed]:
    if not pipe.poll(within):
        raise RowcastError(f"Writers did not end within {within:.0f} seconds.")
    answer: list[Committed] | RowcastError = pipe.recv()
    if isinstance(answer, RowcastError):
        raise answer
    return answer or []


@contextmanager
def writers(*works: Work) -> Iterator[Writers]:
    """A process for each of these, ready to begin."""
    with spawned(main, [(work,) for work in works]) as pipes:
        for pipe in pipes:
            _answer(pipe, _CONNECT_WITHIN)
        yield Writers(pipes)
