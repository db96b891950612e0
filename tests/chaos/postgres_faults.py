"""What befalls Postgres and Rowcast's sessions with it; what other users of it do; and failovers."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import LiteralString

import psycopg

from tests.chaos.ensemble import Ensemble
from tests.chaos.fault import fault, one_of
from tests.waiting import running

# By what they call themselves; `claim` also holds the leader's lock.
SESSIONS = ("rowcast-listen", "rowcast-claim", "rowcast-read", "rowcast-web", "rowcast-reread", "rowcast-backlog")
_PIDS: LiteralString = (
    "SELECT pid FROM pg_stat_activity WHERE application_name = ANY (%s) AND backend_type = 'client backend'"
)


async def _pids(e: Ensemble, names: list[str]) -> list[int]:
    """Of the sessions with these names; none while Postgres can't be asked."""
    try:
        async with e.sql() as session:
            return [row[0] async for row in await session.execute(_PIDS, [names])]
    except psycopg.OperationalError:
        return []


@fault("postgres", postgres=True)
@asynccontextmanager
async def kill_postgres(e: Ensemble) -> AsyncIterator[None]:
    """kill -9 of the postmaster; crash recovery, which wipes the queue of notifications, at the end."""
    await e.postgres.primary.kill()
    try:
        yield
    finally:
        await e.postgres.primary.start()


@fault("postgres", postgres=True)
@asynccontextmanager
async def restart_postgres(e: Ensemble) -> AsyncIterator[None]:
    """An orderly shutdown, and a start at the end."""
    await e.postgres.primary.stop()
    try:
        yield
    finally:
        await e.postgres.primary.start()


@fault("postgres", postgres=True)
@asynccontextmanager
async def freeze_postgres(e: Ensemble) -> AsyncIterator[None]:
    """SIGSTOP of all its processes."""
    e.postgres.primary.freeze()
    try:
        yield
    finally:
        e.postgres.primary.thaw()


@fault(name=one_of("rowcast-%", *SESSIONS), every=one_of(0.1, 0.5, 2.0))
@asynccontextmanager
async def end_sessions(e: Ensemble, *, name: str, every: float) -> AsyncIterator[None]:
    """pg_terminate_backend of Rowcast's sessions of that name (% for all), again and again."""

    async def again_and_again() -> None:
        while True:
            with suppress(psycopg.OperationalError):
                async with e.sql() as session:
                    await session.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE %s", [name]
                    )
            await asyncio.sleep(every)

    async with running(again_and_again()):
        yield


# A session that is frozen inside a statement may hold a lock inside Postgres that writers need.
@fault("postgres", name=one_of(*SESSIONS), postgres=True)
@asynccontextmanager
async def freeze_sessions(e: Ensemble, *, name: str) -> AsyncIterator[None]:
    """SIGSTOP of the server's own processes behind the sessions of that name."""
    pids = await _pids(e, [name])
    _send(pids, signal.SIGSTOP)
    try:
        yield
    finally:
        _send(pids, signal.SIGCONT)


def _send(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


@fault(commits=one_of(True, False))
@asynccontextmanager
async def long_transaction(e: Ensemble, *, commits: bool) -> AsyncIterator[None]:
    """A transaction of somebody's with an xid of its own and an old snapshot, open for long."""
    async with AsyncExitStack() as stack:
        session = None
        with suppress(psycopg.OperationalError):
            session = await stack.enter_async_context(e.sql())
            await session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            await session.execute("SELECT pg_current_xact_id()")
        yield
        with suppress(psycopg.OperationalError):
            if session is not None:
                await session.execute("COMMIT" if commits else "ROLLBACK")


@asynccontextmanager
async def _failover(e: Ensemble, lag: float) -> AsyncIterator[None]:
    """The primary is lost for good, and with it what the standby had not got; the standby takes its place at the end.

    Every address of Postgres leads there then, and the lost place becomes the new standby.
    """
    if lag:
        e.postgres.stream.black_hole()
        await asyncio.sleep(lag)
    await e.postgres.primary.kill()
    try:
        yield
    finally:
        await e.postgres.promote()
        e.lead()
        await e.postgres.follow()


@fault(
    "postgres",
    on=lambda shape: shape.standby == "async",
    postgres=True,
    forgets=True,
    lag=one_of(0.0, 0.5, 3.0),
)
@asynccontextmanager
async def fail_over(e: Ensemble, *, lag: float) -> AsyncIterator[None]:
    """To a standby that lags so many seconds behind."""
    async with _failover(e, lag):
        yield


@fault("postgres", on=lambda shape: shape.standby == "sync", postgres=True)
@asynccontextmanager
async def fail_over_in_step(e: Ensemble) -> AsyncIterator[None]:
    """To a synchronous standby, which lacks nothing that was told to be committed."""
    async with _failover(e, 0):
        yield


@fault("postgres", on=lambda shape: shape.standby != "none", postgres=True)
@asynccontextmanager
async def lose_standby(e: Ensemble) -> AsyncIterator[None]:
    """A standby that is not heard from; every commit waits for a synchronous one."""
    e.postgres.stream.hold()
    try:
        yield
    finally:
        e.postgres.stream.heal()
