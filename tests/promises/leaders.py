"""A leader that can be frozen or cut off, a standby on ways of its own, and a web process that hears whoever leads."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from signal import SIGCONT, SIGSTOP
from typing import Any
from uuid import uuid4

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.db.databases import Databases
from tests.promises.load import Load
from tests.rig import Process, Rig, ready, rig
from tests.waiting import until
from tests.wire import Wire, wire

_log = logging.getLogger(__name__)

REPLACED = 15.0

# The sessions of a bridge that leads; whoever follows has a claim session only, and not the lock.
_SESSIONS = """
    SELECT a.pid FROM pg_stat_activity AS a WHERE a.datname = current_database()
    AND (a.application_name IN ('rowcast-listen', 'rowcast-read')
         OR EXISTS (SELECT FROM pg_locks AS l WHERE l.pid = a.pid AND l.locktype = 'advisory' AND l.granted))
"""
_WAITS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = %s AND wait_event = %s"
# A trigger of the user's own, which runs inside the claim, for as long as it is told at the moment.
_SLOWNESS = """
    CREATE TABLE IF NOT EXISTS slowness (seconds float8);
    CREATE OR REPLACE FUNCTION crawl() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_sleep((SELECT seconds FROM slowness)); RETURN NEW; END $$;
    CREATE OR REPLACE TRIGGER crawl BEFORE UPDATE ON notifications FOR EACH ROW WHEN (NEW.message = 'slow')
    EXECUTE FUNCTION crawl();
    TRUNCATE slowness
"""


@dataclass
class Leaders:
    """The two bridges and what hears them. `frozen_at`, `sessions`: when the leader stopped, and its sessions with Postgres then."""

    own: Rig
    leader: Process
    standby: Process
    postgres: Wire
    redis: Wire
    url: str
    web: Process
    load: Load = field(init=False)
    frozen_at: float = 0.0
    sessions: list[int] = field(default_factory=list)

    # Where it may be when it happens

    async def asleep(self) -> None:
        """Wait until the leader has nothing to do and waits for the doorbell."""
        async with self.own.sql() as sql:

            async def waits() -> bool:
                return (await (await sql.execute("SELECT last_value FROM rowcast.doorbell")).fetchone()) == (1,)

            await until(waits)

    async def claiming(self, seconds: float) -> None:
        """Have the leader in the middle of a claim that takes so long."""
        async with self.own.sql() as sql:
            await sql.execute(_SLOWNESS)
            await sql.execute("INSERT INTO slowness VALUES (%s)", (seconds,))
            await self.own.insert(1, "slow")
            await until(lambda: _counted(sql, "rowcast-claim", "PgSleep"))
            await sql.execute("UPDATE slowness SET seconds = 0")  # for whoever claims next

    async def reading(self) -> None:
        """Have Postgres in the middle of sending rows to the leader: the wire is slow, and then keeps back what comes."""
        async with self.own.sql() as sql:
            self.postgres.throttle(100_000)
            # More than the kernel takes at once on its way; for somebody without a stream.
            await sql.execute("INSERT INTO notifications (user_id, message) VALUES (9, repeat('x', 12000000))")
            await until(lambda: _counted(sql, "rowcast-read", "ClientWrite"))
            self.postgres.hold()

    async def at_fail_point(self) -> None:
        """Wait until it has stopped by itself, where it was told to at its start."""
        await self.leader.logged("fail_point.reached", timeout=60)
        self.frozen_at = logged_at(self.leader, "fail_point.reached")
        await self._note_sessions()

    # What happens, and its end

    async def freeze(self) -> None:
        await self._note_sessions()
        self.leader.send(SIGSTOP)
        self.frozen_at = time.time()

    async def cut(self, *wires: Wire, up: bool = True) -> None:
        await self._note_sessions()
        for each in wires:
            each.black_hole(up=up)
        self.frozen_at = time.time()

    async def taken_over(self) -> None:
        """The standby leads within 15 s."""
        await self.standby.logged("leader.leading", timeout=60)
        took = logged_at(self.standby, "leader.leading") - self.frozen_at
        _log.info("replaced after %.1f s", took)
        assert took < REPLACED, f"it took {took:.1f} s; the standby's log:\n{self.standby.log}"

    async def replaced(self) -> None:
        """The same; and INSERTs were not harmed, streams go on, Postgres is rid of the old leader's sessions."""
        await self.taken_over()
        await self.load.flows()
        await ready(self.url, self.web)
        self.load.writer.unharmed()
        async with self.own.sql() as sql:
            await until(lambda: self._forgotten(sql), timeout=REPLACED)

    async def thawed(self) -> None:
        """It runs again, and finds itself replaced."""
        self.postgres.heal()
        self.leader.send(SIGCONT)
        await self.follows()

    async def healed(self) -> None:
        """It reaches its servers again, and finds itself replaced."""
        self.postgres.heal()
        self.redis.heal()
        await self.follows()

    async def follows(self) -> None:
        await self.leader.logged("leader.following", timeout=30)
        await self.load.flows()
        await ready(self.url, self.web)
        self.load.writer.unharmed()
        assert self.standby.log.count("leader.leading") == 1, "the returned leader was to leave the new one in peace"

    async def _note_sessions(self) -> None:
        async with self.own.sql() as sql:
            self.sessions = [pid for (pid,) in await (await sql.execute(_SESSIONS)).fetchall()]
        assert len(self.sessions) >= 2, "the leader has sessions"

    async def _forgotten(self, sql: Any) -> bool:
        row = await (
            await sql.execute("SELECT count(*) FROM pg_stat_activity WHERE pid = ANY (%s)", (self.sessions,))
        ).fetchone()
        return bool(row == (0,))


@asynccontextmanager
async def leaders(databases: Databases, redis_url: str, **leader: str) -> AsyncIterator[Leaders]:
    """Two bridges of which the first leads, started with the settings `leader` beside its own, and a web process."""
    async with _database(databases) as address:
        host, port = (conninfo_to_dict(address)[name] for name in ("host", "port"))
        async with (
            wire(f"postgresql://{host}:{port}") as postgres,
            wire(redis_url) as redis,
            rig(address, redis_url, prefix=f"t{uuid4().hex[:8]}", retry="0.1") as own,
        ):
            by_wire = make_conninfo(address, host="127.0.0.1", port=postgres.port)
            first = await own.bridge(database_url=by_wire, redis_url=redis.url, **leader)
            await first.logged("leader.leading", timeout=60)
            second = await own.bridge()
            url, web = await own.web_unready()
            await second.logged("leader.following", timeout=60)
            await ready(url, web, timeout=60)
            yield Leaders(own, first, second, postgres, redis, url, web)


@asynccontextmanager
async def _database(databases: Databases) -> AsyncIterator[str]:
    """In threads: to make or drop one Postgres waits for every session, and one may be stuck on a wire of ours, carried by this loop."""
    with ExitStack() as stack:
        try:
            yield await asyncio.to_thread(stack.enter_context, databases.migrated())
        finally:
            await asyncio.to_thread(stack.close)


def logged_at(process: Process, event: str) -> float:
    """When (seconds since 1970) the process logged this event first."""
    entries = (json.loads(line) for line in process.log.splitlines() if event in line)
    return next(datetime.fromisoformat(entry["timestamp"]).timestamp() for entry in entries if entry["event"] == event)


async def _counted(sql: Any, name: str, wait_event: str) -> bool:
    row = await (await sql.execute(_WAITS, (name, wait_event))).fetchone()
    return bool(row and row[0])
