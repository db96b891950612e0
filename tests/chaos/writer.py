"""One writer: a session, one transaction after another, and a note of each: what was sent, when, and how it ended.

A failed statement is told apart: by Postgres itself being away (the writer connects again and goes on), or by anything else, which
Rowcast may have caused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, LiteralString, TypeAlias

import psycopg
from psycopg import errors

from tests.chaos.records import Failure, Hold, Notebook, Outcome, Statement, Timing, now
from tests.chaos.texts import SECRET, data, message

Session: TypeAlias = psycopg.AsyncConnection[Any]
Row: TypeAlias = tuple[str, int | None]

INSERT: LiteralString = "INSERT INTO notifications (user_id, key, message, data) VALUES (%s, %s, %s, %s)"
_PRESENT: LiteralString = "SELECT key FROM notifications WHERE left(key, 200) = ANY (%(keys)s) AND key = ANY (%(keys)s)"
_AWAY = (
    errors.AdminShutdown,
    errors.CrashShutdown,
    errors.CannotConnectNow,
    errors.ReadOnlySqlTransaction,
    errors.DatabaseDropped,
    errors.IdleSessionTimeout,
)
EVERYONE = 0.05  # the share of rows for everyone


@dataclass(frozen=True, slots=True)
class WriterConfig:
    """What the writers are told, as JSON. `rate`: transactions a second of each writer; `weights` go over the usual ones."""

    seed: int
    database_url: str
    users: list[int]
    canary: int
    book: str
    writers: int = 8
    rate: float = 12.0
    weights: dict[str, float] = field(default_factory=dict)


def postgres_is_away(error: psycopg.Error) -> bool:
    """Is the server itself, or the way to it, what failed, and not the statement?"""
    return isinstance(error, _AWAY) or (isinstance(error, psycopg.OperationalError) and error.sqlstate is None)


@dataclass(slots=True)
class Attempt:
    """One transaction: its statements, until it is known how it ended."""

    kind: str
    statements: list[tuple[float, list[Row]]] = field(default_factory=list)
    committing: bool = False

    def sends(self, rows: Sequence[Row]) -> None:
        """These rows are about to be sent."""
        self.statements.append((now(), list(rows)))


class Writer:
    """One user of Postgres: one session, one transaction after another."""

    def __init__(self, name: str, config: WriterConfig, book: Notebook, stopping: asyncio.Event) -> None:
        self.name = name
        self.rng = Random(f"{config.seed} {name}")
        self.stopping = stopping
        self._config = config
        self._book = book
        self._number = 0
        self._open: list[Attempt] = []
        self._unknown: list[Attempt] = []
        self._session: Session | None = None

    @property
    def session(self) -> Session:
        assert self._session is not None
        return self._session

    # What transactions are made of

    async def connect(self) -> Session:
        """One more session, in autocommit."""
        return await psycopg.AsyncConnection.connect(self._config.database_url, autocommit=True, connect_timeout=5)

    def row(self, user: int | None = None) -> Row:
        """A new row's key, for that user, or for anyone or everyone."""
        self._number += 1
        drawn = None if self.rng.random() < EVERYONE else self.rng.choice(self._config.users)
        return f"{self.name}.{self._number}", user or drawn

    def rows(self, count: int) -> list[Row]:
        """New rows for many users in no order."""
        return [self.row(self.rng.choice(self._config.users)) for _ in range(count)]

    @property
    def users(self) -> list[int]:
        return self._config.users

    @property
    def canary(self) -> int:
        return self._config.canary

    def values(self, row: Row, text: str | None = None) -> tuple[int | None, str, str, str | None]:
        """The parameters of INSERT."""
        key, user = row
        body = message(self.rng) if text is None else text
        return user, key, (f"{SECRET} {body}" if user == self.canary else body), data(self.rng)

    def attempt(self, kind: str) -> Attempt:
        """A transaction begins."""
        made = Attempt(kind)
        self._open.append(made)
        return made

    def ended(self, attempt: Attempt, outcome: Outcome) -> None:
        """It ended so; written down."""
        self._open.remove(attempt)
        if outcome == "unknown":
            self._unknown.append(attempt)
        else:
            self._write(attempt, outcome)

    def took(self, began: float) -> None:
        """A single row and its commit, sent at `began`, are through."""
        self._book.note(Timing(began, now() - began))

    def held(self, since: float) -> None:
        """Until now a row's lock was held."""
        self._book.note(Hold(since, now()))

    async def pause(self, seconds: float) -> None:
        """Wait, but not for longer than the writers are to run."""
        try:
            async with asyncio.timeout(seconds):
                await self.stopping.wait()
        except TimeoutError:
            pass

    # Its life

    async def run(self, kinds: dict[str, tuple[float, Callable[[Writer], Awaitable[None]]]]) -> None:
        """One transaction after another, of these kinds by their weights."""
        names = list(kinds)
        weights = [self._config.weights.get(name, kinds[name][0]) for name in names]
        while not self.stopping.is_set() or self._unknown:
            kind, began = self.rng.choices(names, weights)[0], now()
            try:
                if self._session is None or self._session.closed:
                    self._session = await self.connect()
                await self._resolve()
                if not self.stopping.is_set():
                    await kinds[kind][1](self)
            except psycopg.Error as error:
                self._failed(kind, began, error)
                await self._away()
            await self.pause(self.rng.expovariate(self._config.rate))

    def _failed(self, kind: str, began: float, error: psycopg.Error) -> None:
        away = postgres_is_away(error)
        text = f"{type(error).__name__}: {str(error).strip()[:300]}"
        self._book.note(Failure(began, now(), self.name, kind, away, text))
        for attempt in list(self._open):
            self.ended(attempt, "unknown" if attempt.committing and away else "rolled back")

    async def _away(self) -> None:
        if self._session is not None:
            await self._session.close()
        self._session = None
        await asyncio.sleep(self.rng.uniform(0.05, 0.5))  # as a client would, before it tries again

    async def _resolve(self) -> None:
        """As a careful client does after a COMMIT without an answer: look whether the rows are there."""
        while self._unknown:
            attempt = self._unknown[-1]
            keys = [key for _, rows in attempt.statements for key, _ in rows]
            found = await (await self.session.execute(_PRESENT, {"keys": keys})).fetchall()
            self._write(attempt, "committed" if len(found) == len(keys) else "unknown")
            self._unknown.pop()

    def _write(self, attempt: Attempt, outcome: Outcome) -> None:
        for began, rows in attempt.statements:
            self._book.note(Statement(self.name, attempt.kind, began, now(), outcome, rows))
