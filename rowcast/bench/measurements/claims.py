"""The claim of one row, after a great many were stamped while somebody held a snapshot open, as pg_dump does for hours."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator

from db.connect import Connection, session
from db.outbox import EVERYWHERE, NOTHING_HELD, SOURCES, claim
from db.queries import query
from rowcast.bench.figures import Outcome, at_most
from rowcast.bench.measurements.marker import many
from rowcast.bench.reckoning import NS, median
from rowcast.bench.site import Session, Site, Yard
from rowcast.bench.sizes import Sizes

_MS = 1000
_BATCH = 1000


def measure(site: Site, sizes: Sizes, rounds: int) -> Outcome:
    """The bridge's own statement on a session like its own, with no bridge running; before, and under the snapshot."""
    found = Outcome("claims", f"claiming one row after {sizes.claim_rows:,} were stamped under an open snapshot")
    with site.yard() as yard:
        fresh = asyncio.run(_rounds(yard, sizes, rounds))
        with _open_snapshot(yard), yard.sql() as sql:
            many(sql, sizes.claim_rows, 1000)
            aged = asyncio.run(_rounds(yard, sizes, rounds))
    found.add("one row's claim, table empty", "ms", fresh)
    found.add("one row's claim under the snapshot", "ms", aged, at_most(3.0))
    return found


async def _rounds(yard: Yard, sizes: Sizes, rounds: int) -> list[float]:
    """Milliseconds that one row's claim takes, its commit and the way to the server included, once all that waited is stamped."""
    async with session(yard.database_url, name="rowcast bench claims") as connection:
        leader = _Leader(connection)
        while await leader.claim():
            pass
        with yard.sql() as sql:
            return [median([await _one_row(leader, sql) for _ in range(sizes.claim_tries)]) for _ in range(rounds)]


async def _one_row(leader: _Leader, sql: Session) -> float:
    many(sql, 1, 1)
    began = time.monotonic_ns()
    await leader.claim()
    return (time.monotonic_ns() - began) / NS * _MS


class _Leader:
    """Claims one after the other; each looks where the one before said."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._look = EVERYWHERE

    async def claim(self) -> bool:
        """Whether another would find more."""
        done = await claim(self._connection, SOURCES[0], NOTHING_HELD, batch=_BATCH, look=self._look)
        self._look = done.look
        return done.more


@contextlib.contextmanager
def _open_snapshot(yard: Yard) -> Iterator[None]:
    with yard.sql() as sql:
        sql.execute(query("bench_snapshot"))
        yield
        sql.execute(query("bench_snapshot_end"))
