"""Writers that insert single rows at a steady pace whatever happens: `python -m bench.steady CONFIG`, until its standard input ends.

The pace is an open loop: when a row is due is settled beforehand, and the time it takes counts from then, not from when the session got round
to it. A wait of one INSERT so counts for all that queue behind it, as it does for users.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import psycopg

from tests.chaos.ending import stdin_ends
from tests.chaos.records import Failure, Notebook, Statement, Timing, now
from tests.chaos.writer import INSERT, Session, postgres_is_away

KIND = "steady"


@dataclass(frozen=True, slots=True)
class SteadyConfig:
    """What the writers are told, as JSON. `rate`: rows a second of all sessions together."""

    database_url: str
    users: list[int]
    book: str
    sessions: int = 4
    rate: float = 200.0


def due(start: float, session: int, sessions: int, rate: float) -> Iterator[tuple[int, float]]:
    """Numbers of this session's rows, and when each is to be sent: all sessions in turn, `rate` rows a second together, from `start` on."""
    return ((number, start + number / rate) for number in count(session, sessions))


async def write(session: int, start: float, config: SteadyConfig, book: Notebook, stopping: asyncio.Event) -> None:
    """Insert each row when it is due or, if the last one took longer, right after that; note when it was due, sent and committed."""
    name = f"s{session}"
    sql: Session | None = None
    for number, at in due(start, session, config.sessions, config.rate):
        await asyncio.sleep(max(0.0, at - now()))
        if stopping.is_set():
            break
        user, key = config.users[number % len(config.users)], f"row {number}"
        began = now()
        try:
            if sql is None or sql.closed:
                sql = await psycopg.AsyncConnection.connect(config.database_url, autocommit=True)
            await sql.execute(INSERT, (user, key, "as short as most", None))
        except psycopg.Error as error:
            book.note(Failure(began, now(), name, KIND, postgres_is_away(error), str(error)[:300]))
            continue
        ended = now()
        book.note(Timing(at, ended - at))
        book.note(Statement(name, KIND, began, ended, "committed", [(key, user)]))
    if sql is not None:
        await sql.close()


async def main(config: SteadyConfig) -> None:
    """Write until standard input ends."""
    stopping = asyncio.Event()
    with Notebook(Path(config.book)) as book:
        async with asyncio.TaskGroup() as tasks:
            start = now() + 0.5
            for session in range(config.sessions):
                tasks.create_task(write(session, start, config, book, stopping), name=f"session {session}")
            await stdin_ends()
            stopping.set()


if __name__ == "__main__":
    asyncio.run(main(SteadyConfig(**json.loads(sys.argv[1]))))
