"""Sessions and the pool. Driver errors become DatabaseUnavailableError here, so that nobody above knows the driver's."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout, TooManyRequests

from core.errors import ConfigurationError, DatabaseUnavailableError, SlowDatabaseError, UnreadableRowError
from db.queries import query

Connection: TypeAlias = AsyncConnection[tuple[Any, ...]]

# Seconds. A peer that is gone without a word is noticed by TCP within this, on either side.
PEER_TIMEOUT = 10
CONNECT_TIMEOUT = 5
# No statement of ours takes longer on a server that is well; one that is frozen or cut off shows no other way.
STATEMENT_TIMEOUT = 10
PING_TIMEOUT = 3
BORROW_TIMEOUT = 15
CHECK_TIMEOUT = 2
# After so long the pool begins its attempts to connect anew: their pauses, of 1 s at first, double each time.
RECONNECT_TIMEOUT = 3.0
CLOSE_TIMEOUT = 0.5


class Session(AsyncConnection[tuple[Any, ...]]):
    """A connection that is given up together with a statement that is given up."""

    walled = True  # may row-level security stand between its role and the rows?

    async def cancel_safe(self, *, timeout: float = 30.0) -> None:  # noqa: ARG002 -- the driver's signature
        """Close, instead of asking a server that may be silent for ever to cancel, and waiting for its answer (10 s in all)."""
        self.pgconn.finish()


@dataclass(frozen=True, slots=True)
class DatabaseConfig:
    """Where Postgres is (`url`: a libpq URI or keyword string) and how many connections the web's pool may hold."""

    url: str
    pool_size: int = 4


def conninfo(url: str, *, name: str) -> str:
    """`url` made to find the primary, to notice a dead peer and to show as `name` in pg_stat_activity; raises ConfigurationError."""
    try:
        return make_conninfo(
            url,
            target_session_attrs="read-write",
            connect_timeout=CONNECT_TIMEOUT,
            keepalives_idle=PEER_TIMEOUT,
            keepalives_interval=2,
            keepalives_count=3,
            tcp_user_timeout=PEER_TIMEOUT * 1000,
            client_encoding="UTF8",
            application_name=name,
        )
    except psycopg.Error as error:
        raise ConfigurationError(
            f"ROWCAST_DATABASE_URL is not a Postgres URL ({str(error).strip()}); write postgresql://user:password@host:5432/database."
        ) from error


@contextmanager
def driver_errors(doing: str) -> Iterator[None]:
    """Turn what the driver raises for a lost or refusing server into DatabaseUnavailableError, with what was being done.

    UnreadableRowError if it was too much for Postgres to write out, SlowDatabaseError if it took too long.
    """
    try:
        yield
    except psycopg.errors.ProgramLimitExceeded as error:
        raise UnreadableRowError from error
    except (psycopg.errors.QueryCanceled, TimeoutError) as error:
        raise SlowDatabaseError(f"Postgres took too long while {doing}.") from error
    except (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout, TooManyRequests) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DatabaseUnavailableError(f"Postgres failed while {doing}: {reason}") from error
    except psycopg.Error as error:
        raise DatabaseUnavailableError(
            f"Postgres refused while {doing}: {str(error).strip().splitlines()[0]}"
        ) from error


@asynccontextmanager
async def limited(doing: str, seconds: float = STATEMENT_TIMEOUT) -> AsyncIterator[None]:
    """What must be done with Postgres within `seconds`; raises DatabaseUnavailableError after that, as for any other failure."""
    with driver_errors(doing):
        async with asyncio.timeout(seconds):
            yield


async def _connected(address: str) -> Connection:
    try:
        return await Session.connect(address, autocommit=True)
    except asyncio.CancelledError as cancelled:
        # A cancelled task keeps its frames for as long as anybody holds it, and in them a socket that Postgres would wait on for a minute.
        traceback.clear_frames(cancelled.__traceback__)
        raise


@asynccontextmanager
async def session(url: str, *, name: str) -> AsyncIterator[Connection]:
    """A dedicated autocommit session of the bridge: never pooled, with no timeout of the database's own, ended by the server if we freeze.

    Raises DatabaseUnavailableError for whatever the driver raises inside.
    """
    address = conninfo(url, name=name)
    hosts = 1 + str(conninfo_to_dict(address).get("host", "")).count(",")
    async with limited(f"connecting ({name})", CONNECT_TIMEOUT * hosts + 1):
        connection = await _connected(address)
    try:
        async with limited(f"setting up a session ({name})"):
            await connection.execute(query("session"), {"timeout": f"{PEER_TIMEOUT}s"})
        with driver_errors(f"working ({name})"):
            yield connection
    finally:
        await connection.close()


async def ping(connection: Connection) -> None:
    """Prove that the session answers; raises DatabaseUnavailableError after 3 s of silence."""
    async with limited("pinging", PING_TIMEOUT):
        await connection.execute(query("ping"))


async def queue_usage(connection: Connection) -> float:
    """How full the server's queue of notifications is, 0 to 1; a ping too."""
    async with limited("looking at the NOTIFY queue", PING_TIMEOUT):
        row = await (await connection.execute(query("queue_usage"))).fetchone()
    return float(row[0]) if row else 0.0


@asynccontextmanager
async def open_pool(
    config: DatabaseConfig,
    *,
    name: str,
    ordered: bool = False,
    seldom: bool = False,
    statement_timeout: float = BORROW_TIMEOUT,
) -> AsyncIterator[AsyncConnectionPool[Connection]]:
    """A pool of the web's: a few sessions to the primary, opened in the background, so that Postgres may be away at start.

    `ordered`: for statements that must walk along indexes (ordered_session.sql). `seldom`: none is opened before it is
    asked for. After `statement_timeout` seconds Postgres itself ends a statement, also one that we have given up.
    """

    async def configure(connection: Connection) -> None:
        await connection.execute(query("web_session"), {"timeout": f"{round(statement_timeout * 1000)}ms"})
        if ordered:
            await connection.execute(query("ordered_session"))
        row = await (await connection.execute(query("walled"))).fetchone()
        if isinstance(connection, Session) and row:
            connection.walled = row[0]

    pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
        conninfo(config.url, name=name),
        connection_class=Session,
        kwargs={"autocommit": True},
        configure=configure,
        min_size=0 if seldom else min(2, config.pool_size),
        max_size=config.pool_size,
        timeout=10,
        reconnect_timeout=RECONNECT_TIMEOUT,
        reconnect_failed=_go_on,
        open=False,
        name=name,
    )
    await pool.open(wait=False)
    try:
        yield pool
    finally:
        await pool.close(timeout=CLOSE_TIMEOUT)


async def _go_on(pool: AsyncConnectionPool[Connection]) -> None:
    """Ask for a session, which makes a pool that has given up connect again: else nothing would while those wait who asked before."""
    with suppress(PoolTimeout, TooManyRequests, PoolClosed):
        await pool.putconn(await pool.getconn(timeout=0.01))


def is_walled(connection: Connection) -> bool:
    """May row-level security stand between this session's role and the rows? True for a session that was not asked."""
    return bool(getattr(connection, "walled", True))


@asynccontextmanager
async def _lent(pool: AsyncConnectionPool[Connection]) -> AsyncIterator[Connection]:
    """As `pool.connection()`, but a borrower that is cancelled while it gives its session back does not lose it: the pool's lock may be taken."""
    connection = await pool.getconn()
    try:
        async with connection:
            yield connection
    finally:
        await asyncio.shield(pool.putconn(connection))


async def _lives(connection: Connection) -> bool:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT):
            await connection.execute(query("ping"))
    except (psycopg.Error, TimeoutError):
        await connection.close()
        return False
    return True


@asynccontextmanager
async def borrow(
    pool: AsyncConnectionPool[Connection], *, doing: str, seconds: float = BORROW_TIMEOUT
) -> AsyncIterator[Connection]:
    """A pooled session for one piece of work; raises DatabaseUnavailableError, also when none comes free in 10 s."""
    task = asyncio.current_task()
    cancelled = task.cancelling() if task else 0
    async with limited(doing, seconds):
        # The pool's own check waits a second after each dead session, and after a restart of Postgres all are.
        for _ in range(pool.max_size + 1):
            async with _lent(pool) as connection:
                if task and task.cancelling() > cancelled:
                    # Python 3.11's wait_for, inside the pool, swallows a cancellation that comes together with the connection.
                    raise asyncio.CancelledError
                if await _lives(connection):
                    yield connection
                    return
        raise DatabaseUnavailableError(f"Postgres failed while {doing}: no session of the pool answers.")


async def listen(connection: Connection) -> None:
    """LISTEN on the doorbell's channel; committed when this returns."""
    async with limited("listening"):
        await connection.execute(query("listen"))


async def notifications(connection: Connection, seconds: float) -> AsyncGenerator[None, None]:
    """One None for each NOTIFY that comes within `seconds`. Take all of them: leaving early loses some."""
    with driver_errors("listening"):
        async for _ in connection.notifies(timeout=seconds):
            yield None
