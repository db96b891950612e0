"""What row-level security costs the web: `python -m bench.wall`.

The same calls on the same table of a million rows, in rounds turn about: by a login in rowcast_web, which names whom it reads for and is
limited to that, and by the owner, which does neither.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TypeAlias

from psycopg.conninfo import make_conninfo

from bench.filling import ROWS_PER_USER, fill
from db.connect import DatabaseConfig, open_pool
from db.history import Asked, History
from db.inbox import Inbox
from tests.db.databases import Databases
from tests.servers import embedded_postgres

MILLISECONDS = 1000
MANY = 100


@dataclass(frozen=True)
class Side:
    """Who asks, of a table of that many rows."""

    rows: int
    history: History
    inbox: Inbox

    @property
    def users(self) -> int:
        return self.rows // ROWS_PER_USER


Case: TypeAlias = Callable[[Side, int], Awaitable[object]]


def _replay_last(side: Side, user: int) -> Awaitable[object]:
    return side.history.replay(str(user), after=side.rows - 10 * side.users, upto=None)


def _replay_all(side: Side, user: int) -> Awaitable[object]:
    return side.history.replay(str(user), after=0, upto=None)


def _replay_many(side: Side, user: int) -> Awaitable[object]:
    users = range(user, user + MANY)
    after = side.rows - 10 * side.users
    return side.history.replay_many([Asked(str(one % side.users), after, None, False, 0) for one in users], limit=60)


def _reread(side: Side, user: int) -> Awaitable[object]:
    users = [str(one % side.users) for one in range(user, user + 1000)]
    return side.history.reread(users, after=side.rows - 1000, upto=None)


def _list(side: Side, user: int) -> Awaitable[object]:
    return side.inbox.page(str(user), before=None, limit=50, unread=False)


def _list_unread(side: Side, user: int) -> Awaitable[object]:
    return side.inbox.page(str(user), before=None, limit=50, unread=True)


def _get(side: Side, user: int) -> Awaitable[object]:
    return side.inbox.get(user or side.users, viewer=str(user))


CASES: dict[str, Case] = {
    "replay of a user's last 10 rows": _replay_last,
    "replay of a user's 100 rows and 100 for everyone": _replay_all,
    f"replay for {MANY} streams at once": _replay_many,
    "re-read of 1,000 rows for 1,000 users": _reread,
    "list of a user's newest 50, unread count with it": _list,
    "list of what is unread": _list_unread,
    "one row by its id": _get,
}


async def measure(rows: int, rounds: int, times: int) -> list[str]:
    """Lines of a report, as Markdown."""
    with embedded_postgres() as server, Databases(server.url).migrated() as address:
        await asyncio.to_thread(fill, address, rows)
        async with AsyncExitStack() as stack:
            user = stack.enter_context(Databases(server.url).login("rowcast_web"))
            sides = []
            for where in (make_conninfo(address, user=user, password="test"), address):  # noqa: S106 -- of this server alone
                pool = await stack.enter_async_context(open_pool(DatabaseConfig(where, 1), name="bench"))
                sides.append(Side(rows, History(pool), Inbox(pool)))
            lines = ["| | with, ms | without, ms | ratio (of the rounds) |", "|---|---:|---:|---:|"]
            return lines + [await _row(name, case, sides, rounds, times) for name, case in CASES.items()]


async def _row(name: str, case: Case, sides: list[Side], rounds: int, times: int) -> str:
    took: list[list[float]] = [[], []]
    for _ in range(rounds):
        one: list[list[float]] = [[], []]
        for _ in range(times):
            user = random.randrange(sides[0].users)  # noqa: S311
            for number, side in enumerate(sides):
                began = time.perf_counter()
                await case(side, user)
                one[number].append((time.perf_counter() - began) * MILLISECONDS)
        for number in (0, 1):
            took[number].append(statistics.median(one[number]))
    ratios = sorted(walled / bare for walled, bare in zip(*took, strict=True))
    walled, bare = (statistics.median(each) for each in took)
    return f"| {name} | {walled:.2f} | {bare:.2f} | {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}) |"


def main() -> None:
    """Fill, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m bench.wall", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the table (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each (default %(default)s)")
    parser.add_argument("--times", type=int, default=100, help="calls in a round (default %(default)s)")
    given = parser.parse_args()
    for line in asyncio.run(measure(given.rows, given.rounds, given.times)):
        print(line, flush=True)  # noqa: T201 -- a command's output


if __name__ == "__main__":
    main()
