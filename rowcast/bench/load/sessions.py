"""Sessions with Postgres on libpq's own calls: many in one process, each commit a few dozen microseconds of Python."""

from __future__ import annotations

import selectors
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeAlias

from psycopg import pq

from core.errors import RowcastError
from db.connect import conninfo
from rowcast.bench.reckoning import NS

_PATIENCE = 60.0

Parameters: TypeAlias = list[bytes | None]
# The number of the row, when its INSERT was sent and when it was answered (ns).
Committed: TypeAlias = tuple[int, int, int]


class WriteError(RowcastError):
    """An INSERT failed, so there is no figure."""


class Sessions:
    """Open sessions that commit one row each at a time, by a statement with $1, $2."""

    def __init__(self, url: str, count: int, before: Sequence[bytes] = ()) -> None:
        self._selector = selectors.SelectSelector()  # epoll waits for whole milliseconds
        self._free: deque[pq.abc.PGconn] = deque()
        self._busy: dict[pq.abc.PGconn, tuple[int, int]] = {}
        self._prepared: dict[bytes, bytes] = {}
        self._statement = b""
        for _ in range(count):
            self._free.append(made := _connect(url, before))
            self._selector.register(made.socket, selectors.EVENT_READ, made)

    def use(self, insert: bytes) -> None:
        """Insert by this statement from now on."""
        if insert not in self._prepared:
            self._prepared[insert] = name = b"insert_%d" % len(self._prepared)
            for one in self._free:
                _prepare(one, name, insert)
        self._statement = self._prepared[insert]

    def close(self) -> None:
        for one in (*self._free, *self._busy):
            one.finish()
        self._selector.close()

    def flat_out(self, until: int, parameters: Callable[[int], Parameters]) -> list[Committed]:
        """Each session commits one row after the other until `until` (ns)."""
        done: list[Committed] = []
        number = 0
        while time.monotonic_ns() < until:
            while self._free:
                self._send(number, parameters(number))
                number += 1
            done += self._answers(1.0)
        return done + self._finish()

    def on_time(self, due: Sequence[int], parameters: Callable[[int], Parameters]) -> list[Committed]:
        """A row at each of these times (ns), or as soon after it as a session is free."""
        done: list[Committed] = []
        for number, at in enumerate(due):
            while (wait := at - time.monotonic_ns()) > 0 or not self._free:
                done += self._answers(wait / NS if self._free else _PATIENCE)
            self._send(number, parameters(number))
        return done + self._finish()

    def _send(self, number: int, parameters: Parameters) -> None:
        session = self._free.popleft()
        self._busy[session] = (number, time.monotonic_ns())
        session.send_query_prepared(self._statement, parameters)
        session.flush()

    def _finish(self) -> list[Committed]:
        done: list[Committed] = []
        while self._busy:
            done += (came := self._answers(_PATIENCE))
            if not came:
                raise WriteError(f"Postgres did not answer an INSERT within {_PATIENCE:.0f} seconds.")
        return done

    def _answers(self, within: float) -> list[Committed]:
        """What was answered, waiting for the first."""
        done: list[Committed] = []
        for key, _ in self._selector.select(max(0.0, within)):
            session = key.data
            session.consume_input()
            if session in self._busy and not session.is_busy():
                _check(session)
                number, sent = self._busy.pop(session)
                done.append((number, sent, time.monotonic_ns()))
                self._free.append(session)
        return done


def _connect(url: str, before: Sequence[bytes]) -> pq.abc.PGconn:
    made = pq.PGconn.connect(conninfo(url, name="rowcast bench").encode())
    if made.status != pq.ConnStatus.OK:
        raise WriteError(f"No session with Postgres: {made.error_message.decode().strip()}")
    for statement in before:
        made.exec_(statement)
    made.nonblocking = 1
    return made


def _prepare(session: pq.abc.PGconn, name: bytes, insert: bytes) -> None:
    result = session.prepare(name, insert)
    if result.status != pq.ExecStatus.COMMAND_OK:
        raise WriteError(f"Postgres refused the INSERT: {result.error_message.decode().strip()}")


def _check(session: pq.abc.PGconn) -> None:
    while (result := session.get_result()) is not None:
        if result.status != pq.ExecStatus.COMMAND_OK:
            raise WriteError(f"An INSERT failed: {result.error_message.decode().strip()}")
