"""psycopg's place, over the modelled Postgres: what db/ calls of a connection, a cursor and a pool, and nothing else.

A statement is one item on its way up and its rows are one on their way down; the process waits in between.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Callable
from functools import cache
from pathlib import Path
from typing import Any, cast

import psycopg
from psycopg import sql

import db.queries
from db.connect import Connection
from db.queries import query
from tests.model.postgres import Database, Rows, Session
from tests.model.wire import Item, Wire

Open = Callable[[str, "SessionPeer"], Wire]  # a new wire of the running process
IDLE_TIMEOUT = 3.0  # seconds; sessions of the bridge set 10
_NOTIFY = "NOTIFY"


@cache
def _names() -> dict[int, str]:
    """By the identity of the statement, which db.queries makes once. Those of the benchmarks are for real servers."""
    files = Path(next(iter(db.queries.__path__))).glob("[a-z]*.sql")
    return {id(query(file.stem)): file.stem for file in files if not file.stem.startswith("bench_")}


def _name(statement: sql.Composed) -> str:
    return _names()[id(statement)]


class SessionPeer:
    """The server's end: takes the statements of one session of one database."""

    def __init__(self, primary: Callable[[], Database], name: str) -> None:
        self._primary = primary
        self._name = name
        self.database: Database | None = None
        self.session: Session | None = None

    def take(self, wire: Wire, item: Item) -> None:
        waiter, name, parameters = item
        if self.session is None or self.database is None:
            self._accept(wire, waiter)
            return
        try:
            wire.down.append((waiter, self.database.execute(self.session, name, parameters)))
        except psycopg.Error as error:
            wire.down.append((waiter, error))

    def _accept(self, wire: Wire, waiter: asyncio.Future[Rows]) -> None:
        self.database = self._primary()
        if not self.database.up:
            wire.end()
            return
        self.session = Session(self._name, self.database.now(), lambda: wire.down.append((None, _NOTIFY)), wire.end)
        self.database.sessions.add(self.session)
        wire.down.append((waiter, []))

    def gone(self, wire: Wire) -> None:
        if self.session is not None and self.database is not None:
            self.database.left(self.session)

    def idle(self, now: float) -> bool:
        """Is it one of the bridge's, without a word for too long?"""
        return self.session is not None and "web" not in self._name and now - self.session.said > IDLE_TIMEOUT


class Cursor:
    """The rows of one statement."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    async def fetchone(self) -> tuple[Any, ...] | None:
        return self._rows[0] if self._rows else None

    async def fetchall(self) -> Rows:
        return self._rows


class ModelConnection:
    """One session's client end, in autocommit."""

    walled = False  # see db.connect: the model has no roles

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._waiters: set[asyncio.Future[Rows]] = set()
        self._rung = 0
        self._bell: asyncio.Future[None] | None = None
        wire.on_inbox = self._came

    @property
    def closed(self) -> bool:
        return not self._wire.open

    async def execute(
        self, statement: sql.Composed, parameters: dict[str, Any] | None = None, *, prepare: bool | None = None
    ) -> Cursor:
        return Cursor(await self._ask(_name(statement), parameters or {}))

    async def connect(self) -> None:
        await self._ask("connect", {})

    async def close(self) -> None:
        self._wire.close()

    async def notifies(self, *, timeout: float) -> AsyncGenerator[None, None]:
        """None for each NOTIFY, until the time is up."""
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        while True:
            while self._rung:
                self._rung -= 1
                yield None
            self._require()
            self._bell = loop.create_future()
            try:
                async with asyncio.timeout_at(end):
                    await self._bell
            except TimeoutError:
                return
            finally:
                self._bell = None

    async def __aenter__(self) -> ModelConnection:
        return self

    async def __aexit__(self, *_: object) -> None:
        """It is in autocommit."""

    async def _ask(self, name: str, parameters: dict[str, Any]) -> Rows:
        self._require()
        waiter: asyncio.Future[Rows] = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        self._wire.send((waiter, name, parameters))
        try:
            return await waiter
        except asyncio.CancelledError:
            self._wire.close()  # as db.connect.Session does
            raise
        finally:
            self._waiters.discard(waiter)

    def _require(self) -> None:
        if not self._wire.open:
            raise psycopg.OperationalError("the connection is closed")

    def _came(self) -> None:
        while self._wire.inbox:
            waiter, answer = self._wire.inbox.popleft()
            if answer is _NOTIFY:
                self._rung += 1
                self._ring()
            elif not waiter.done():
                if isinstance(answer, psycopg.Error):
                    waiter.set_exception(answer)
                else:
                    waiter.set_result(answer)
        if not self._wire.open:
            self._ring()
            for waiter in self._waiters:
                if not waiter.done():
                    waiter.set_exception(psycopg.OperationalError("server closed the connection unexpectedly"))

    def _ring(self) -> None:
        if self._bell is not None and not self._bell.done():
            self._bell.set_result(None)


class Driver:
    """Connects the running process to whatever is the primary."""

    def __init__(self, primary: Callable[[], Database], open_wire: Open) -> None:
        self._primary = primary
        self._open_wire = open_wire

    async def connect(self, address: str, *, autocommit: bool) -> Connection:
        """In place of db.connect.Session.connect."""
        found = re.search(r"application_name='?([\w-]+)", address)
        return await self.session(found[1] if found else "?")

    async def session(self, name: str) -> Connection:
        peer = SessionPeer(self._primary, name)
        made = ModelConnection(self._open_wire(name, peer))
        try:
            await made.connect()
        except asyncio.CancelledError:
            await made.close()
            raise
        return cast(Connection, made)


class Pool:
    """As psycopg_pool: keeps what is healthy, makes what is missing, lends to `max_size` at a time."""

    def __init__(self, driver: Driver, name: str, max_size: int) -> None:
        self.max_size = max_size
        self._driver = driver
        self._name = name
        self._free: list[Connection] = []
        self._room = asyncio.Semaphore(max_size)

    async def getconn(self) -> Connection:
        await self._room.acquire()
        try:
            return self._free.pop() if self._free else await self._driver.session(self._name)
        except BaseException:
            self._room.release()
            raise

    async def putconn(self, connection: Connection) -> None:
        if not connection.closed:
            self._free.append(connection)
        self._room.release()
