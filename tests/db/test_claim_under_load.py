"""Claims while others insert, update, hold locks, roll back and delete: nothing is lost, stamped twice or overtaken."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass

import pytest
from psycopg import AsyncConnection

from db.connect import Connection, session
from db.outbox import EVERYWHERE, NOTHING_HELD, SOURCES, claim

SECONDS = 3.0
WRITERS = 3
USERS = 6


@dataclass(frozen=True, slots=True)
class Written:
    """A row that was committed: when its INSERT began, and when its commit was known to the writer."""

    user: int | None
    began: float
    committed: float


async def write(database: str, seed: int, until: float, log: dict[int, Written]) -> None:
    """Insert rows, one or a few to a transaction, of which some wait a little and some roll back."""
    chance = random.Random(seed)
    async with await AsyncConnection.connect(database) as connection:
        while time.monotonic() < until:
            rows = [
                (chance.choice([None, *range(USERS)]), time.monotonic()) for _ in range(chance.choice([1, 1, 1, 5]))
            ]
            stray = chance.random() < 0.05
            ids = [await insert_one(connection, user, stray=stray) for user, _ in rows]
            if chance.random() < 0.1:
                await connection.execute("SELECT pg_sleep(0.02)")
            if chance.random() < 0.1:
                await connection.rollback()
                continue
            await connection.commit()
            done = time.monotonic()
            log.update({id_: Written(user, began, done) for id_, (user, began) in zip(ids, rows, strict=True)})


async def insert_one(connection: Connection, user: int | None, *, stray: bool) -> int:
    """One that, if it is a stray, says of itself that it was born long ago."""
    statement = "INSERT INTO public.notifications (user_id, message) VALUES (%s, '') RETURNING id"
    if stray:
        statement = "INSERT INTO public.notifications (user_id, message, born) VALUES (%s, '', '1') RETURNING id"
    row = await (await connection.execute(statement.encode(), (user,))).fetchone()
    assert row is not None
    return int(row[0])


async def disturb(database: str, seed: int, until: float) -> None:
    """Update recent rows, now and then holding the locks, rolling back, or deleting one."""
    chance = random.Random(seed)
    async with await AsyncConnection.connect(database) as connection:
        while time.monotonic() < until:
            await connection.execute(
                "UPDATE public.notifications SET is_viewed = NOT is_viewed WHERE id IN "
                "(SELECT id FROM public.notifications ORDER BY id DESC LIMIT %s FOR UPDATE SKIP LOCKED)",
                (chance.choice([1, 3, 20]),),
            )
            if chance.random() < 0.2:
                await connection.execute("SELECT pg_sleep(0.02)")
            if chance.random() < 0.2:
                await connection.rollback()
            else:
                await connection.commit()


async def stamp(database: str, writing: asyncio.Event, batch: int) -> int:
    """Poll on and on until the writers have ended, and then to the end; how many claims had to leave something out."""
    [source] = SOURCES
    held_up = 0
    look = EVERYWHERE
    async with session(database, name="bridge") as bridge:
        last = False
        while True:
            last = not writing.is_set()
            got = await claim(bridge, source, NOTHING_HELD, batch=batch, look=look)
            while got.more:
                held_up += bool(got.held_back)
                got = await claim(bridge, source, got.held_back, batch=batch, look=got.look)
            look = got.look
            held_up += bool(got.held_back)
            if last and not got.rows and not got.held_back:
                return held_up


@pytest.mark.parametrize("batch", [5, 50])
async def test_order_and_completeness_under_load(database: str, batch: int) -> None:
    log: dict[int, Written] = {}
    until = time.monotonic() + SECONDS
    writing = asyncio.Event()
    writing.set()
    async with asyncio.TaskGroup() as group:
        stamping = group.create_task(stamp(database, writing, batch))
        async with asyncio.TaskGroup() as load:
            for seed in range(WRITERS):
                load.create_task(write(database, seed, until, log))
            for seed in range(2):
                load.create_task(disturb(database, seed, until))
        writing.clear()
    async with await AsyncConnection.connect(database) as connection:
        rows = await (await connection.execute("SELECT id, seq FROM public.notifications ORDER BY seq")).fetchall()
    assert stamping.result() > 10, "the load must have been in the way"
    assert {id_ for id_, _ in rows} == set(log)
    assert all(seq is not None for _, seq in rows)
    assert len({seq for _, seq in rows}) == len(rows) > 100
    assert overtaken([log[id_] for id_, _ in rows]) == []


def overtaken(rows: list[Written]) -> list[tuple[Written, Written]]:
    """Of rows in the order of the log: those that come after one of the same stream whose INSERT began only once they were committed."""
    latest: dict[int | None, Written] = {}
    found = []
    for row in rows:
        streams = [None, row.user] if row.user is not None else list(latest)
        found += [(latest[s], row) for s in streams if s in latest and latest[s].began > row.committed]
        if row.user not in latest or latest[row.user].began < row.began:
            latest[row.user] = row
    return found
