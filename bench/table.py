"""What a large table costs: `python -m bench.table`.

The same statements, by the same code, on a table of 10,000 rows and one of `--rows` (10 million), turn about, everything in memory: for a
user with a hundred rows of his own and a hundred for everyone, in both. Then what does grow: rows of one user, and rows for everyone.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TypeAlias

import psycopg

from bench.filling import ROWS_PER_USER, fill
from bench.plans import PLANS, plan
from core.events import Range
from db.connect import Connection, DatabaseConfig, open_pool, session
from db.history import History
from db.inbox import Inbox
from db.outbox import NOTHING_HELD, SOURCES, claim, read_range
from db.queries import query
from tests.db.databases import Databases
from tests.servers import embedded_postgres

SMALL = 10_000
TIMES = 200
MILLISECONDS = 1000
_MEMORY = {"shared_buffers": "6GB", "max_wal_size": "16GB", "checkpoint_timeout": "1h", "autovacuum": "off"}


@dataclass(frozen=True)
class Side:
    """A table of that size, and what asks it."""

    rows: int
    address: str
    bridge: Connection
    history: History
    inbox: Inbox

    @property
    def users(self) -> int:
        return self.rows // ROWS_PER_USER


# Prepares, then does what is timed; a random user is given.
Case: TypeAlias = Callable[[Side, int], Awaitable[float]]


async def _timed(work: Awaitable[object]) -> float:
    began = time.perf_counter()
    await work
    return (time.perf_counter() - began) * MILLISECONDS


async def _claim_one(side: Side, _user: int) -> float:
    return await _claim(side, 1)


async def _claim_many(side: Side, _user: int) -> float:
    return await _claim(side, 1000)


async def _claim(side: Side, rows: int) -> float:
    """Rows of as many users, which are taken away again."""
    statement = (
        "INSERT INTO public.notifications (user_id, message) SELECT i %% 100, 'new' FROM generate_series(1, %s) AS i"
    )
    await side.bridge.execute(statement, (rows,))
    took = await _timed(claim(side.bridge, SOURCES[0], NOTHING_HELD, batch=1000))
    await side.bridge.execute("DELETE FROM public.notifications WHERE seq > %s", (side.rows,))
    return took


async def _bodies(side: Side, _user: int) -> float:
    end = random.randrange(1000, side.rows)  # noqa: S311

    async def read() -> int:
        return sum([1 async for _ in read_range(side.bridge, SOURCES[0], Range(end - 1000, end))])

    return await _timed(read())


async def _replay_last(side: Side, user: int) -> float:
    return await _timed(side.history.replay(str(user), after=side.rows - 10 * side.users, upto=None))


async def _replay_all(side: Side, user: int) -> float:
    return await _timed(side.history.replay(str(user), after=0, upto=None))


async def _list(side: Side, user: int) -> float:
    return await _timed(side.inbox.page(str(user), before=None, limit=50, unread=False))


async def _list_unread(side: Side, user: int) -> float:
    return await _timed(side.inbox.page(str(user), before=None, limit=50, unread=True))


async def _unread(side: Side, user: int) -> float:
    return await _timed(side.bridge.execute(query("unread"), {"viewer": user}, prepare=False))


CASES: dict[str, Case] = {
    "claim of 1 row": _claim_one,
    "claim of 1,000 rows": _claim_many,
    "bodies of 1,000 claimed rows": _bodies,
    "replay of a user's last 10 rows": _replay_last,
    "replay of a user's 100 rows and 100 for everyone": _replay_all,
    "list of a user's newest 50, unread count with it": _list,
    "list of what is unread": _list_unread,
    "unread count": _unread,
}


@asynccontextmanager
async def _side(databases: Databases, rows: int) -> AsyncIterator[Side]:
    async with AsyncExitStack() as stack:
        address = stack.enter_context(databases.migrated())
        await asyncio.to_thread(fill, address, rows)
        bridge = await stack.enter_async_context(session(address, name="bench"))
        await bridge.execute("SET idle_session_timeout = 0")  # it waits while others are measured
        pool = await stack.enter_async_context(open_pool(DatabaseConfig(address, 1), name="bench"))
        yield Side(rows, address, bridge, History(pool), Inbox(pool))


async def measure(rows: int) -> list[str]:
    """Lines of a report, as Markdown."""
    with embedded_postgres(settings=_MEMORY) as server:
        databases = Databases(server.url)
        async with _side(databases, SMALL) as small, _side(databases, rows) as large:
            lines = [f"| | {SMALL:,} rows, ms | {rows:,} rows, ms | ratio | of the fastest tenth |"]
            lines += ["|---|---:|---:|---:|---:|"]
            lines += [await _row(name, case, small, large) for name, case in CASES.items()]
            for title, (name, parameters) in PLANS.items():
                lines += ["", f"{title}, {rows:,} rows:", "", *await plan(large.address, name, parameters)]
            lines += ["", *await _growth(large)]
    return lines


async def _row(name: str, case: Case, small: Side, large: Side) -> str:
    took: dict[int, list[float]] = {small.rows: [], large.rows: []}
    for side in (small, large):
        await _run(
            side, "VACUUM public.notifications"
        )  # the claims before left dead rows, of all users of the small table
    for turn in range(TIMES + TIMES // 10):
        for side in (small, large):
            spent = await case(side, random.randrange(side.users))  # noqa: S311
            if turn >= TIMES // 10:  # the first ones warm up
                took[side.rows].append(spent)
    before, after = (statistics.median(took[side.rows]) for side in (small, large))
    # On a machine with other work these tell more: calls that nobody got in the way of.
    undisturbed = [statistics.quantiles(took[side.rows], n=10)[0] for side in (small, large)]
    ratio = undisturbed[1] / undisturbed[0]
    return f"| {name} | {before:.2f} | {after:.2f} | {after / before:.2f} | {ratio:.2f} |"


async def _growth(side: Side) -> list[str]:
    lines = ["| what grows | unread count, ms | list, ms | replay, its first page, ms |", "|---|---:|---:|---:|"]
    user, own, everyone = 10**9, 0, 100
    for viewed in (100, 10_000, 100_000):
        await _add(side, user, viewed - own, viewed=True)
        own = viewed
        lines.append(f"| {viewed:,} viewed rows of the user's own | {await _three(side, user)} |")
    for unread in (1_000, 10_000):
        await _add(side, user + unread, unread, viewed=False)
        lines.append(f"| {unread:,} unread rows of the user's own | {await _three(side, user + unread)} |")
    for more in (1_000, 10_000):
        await _add(side, None, more - everyone, viewed=False)
        everyone = more
        lines.append(f"| {more:,} rows for everyone, none of them viewed | {await _three(side, 1)} |")
        await _view_all(side, 2)
        lines.append(f"| {more:,} rows for everyone, all viewed by the user | {await _three(side, 2)} |")
    return lines


async def _three(side: Side, user: int) -> str:
    took = []
    for case in (_unread, _list, _replay_last):
        spent = [await case(side, user) for _ in range(50)]
        took.append(f"{statistics.median(spent[5:]):.2f}")
    return " | ".join(took)


async def _add(side: Side, user: int | None, rows: int, *, viewed: bool) -> None:
    await _run(
        side,
        "INSERT INTO public.notifications (user_id, message, is_viewed) SELECT %s, 'more', %s FROM generate_series(1, %s)",
        (user, viewed, rows),
    )
    while (await claim(side.bridge, SOURCES[0], NOTHING_HELD, batch=5000)).more:
        pass
    await _run(side, "VACUUM ANALYZE public.notifications")


async def _view_all(side: Side, user: int) -> None:
    await side.inbox.mark_up_to(str(user), 2**62)
    await _run(side, "VACUUM ANALYZE rowcast.viewed")


async def _run(side: Side, statement: str, parameters: tuple[object, ...] = ()) -> None:
    async with await psycopg.AsyncConnection.connect(side.address, autocommit=True) as sql:
        await sql.execute(statement.encode(), parameters or None)


def main() -> None:
    """Fill, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m bench.table", description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000, help="rows of the large table (default %(default)s)")
    for line in asyncio.run(measure(parser.parse_args().rows)):
        print(line, flush=True)  # noqa: T201 -- a command's output


if __name__ == "__main__":
    main()
