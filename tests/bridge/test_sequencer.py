"""Stamping without missing a row: awake, falling asleep, asleep (protocol.md 6). The slow poll is off wherever it would hide a stall."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import psycopg
import pytest

from bridge import sequencer as module
from bridge import walk
from bridge.bell import Bell
from bridge.config import BridgeConfig
from bridge.listener import Listener
from bridge.nap import State
from bridge.sequencer import Sequencer
from core.clock import SystemClock
from core.errors import DatabaseUnavailableError
from core.events import Range
from db import backlog, outbox
from db.connect import Connection, session
from db.outbox import Source
from tests.db.rows import EVERYONE, in_order, insert, lock
from tests.waiting import running, until


class Outlet:
    """Where ranges go."""

    def __init__(self) -> None:
        self.term: Range | None = None
        self.spans: list[Range] = []
        self.alive_at: list[int] = []

    async def stamped(self, source: Source, span: Range) -> None:
        self.spans.append(span)

    async def kept_up(self) -> None:
        pass

    async def term_started(self, span: Range) -> None:
        self.term = span

    def alive(self, end: int) -> None:
        self.alive_at.append(end)


@asynccontextmanager
async def sequencing(
    database: str, claiming: Connection, outlet: Outlet, *, listening: bool = True, **settings: Any
) -> AsyncIterator[Sequencer]:
    config = BridgeConfig(database, **{"poll_interval": 60.0, **settings})
    bell, clock = Bell(), SystemClock()
    sequencer = Sequencer(claiming, bell, outlet, config, clock)
    async with running(sequencer.run(), *([Listener(database, bell, clock).run()] if listening else [])):
        yield sequencer


@pytest.fixture
def no_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but the doorbell and the way of falling asleep finds a row: the heartbeat, which polls too, is a minute away."""
    monkeypatch.setattr(module, "HEARTBEAT", 60.0)
    monkeypatch.setattr(module, "YOUNG", 0.0)


async def asleep(sequencer: Sequencer) -> None:
    await until(lambda: sequencer._nap.state is State.SETTLED)


async def stamped(sql: Connection, count: int) -> None:
    """So many rows have a seq."""

    async def are() -> bool:
        return len(await in_order(sql)) == count

    await until(are, timeout=10)


async def doorbell(sql: Connection) -> int:
    row = await (await sql.execute("SELECT last_value FROM rowcast.doorbell")).fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.usefixtures("no_poll")
async def test_a_sleeping_bridge_is_woken_by_the_bell(database: str, claiming: Connection, sql: Connection) -> None:
    """The trigger rings only if the mark says waiting."""
    outlet = Outlet()
    async with sequencing(database, claiming, outlet) as sequencer:
        await asleep(sequencer)
        assert await doorbell(sql) == outbox.WAITING
        for count in range(1, 6):
            await insert(sql, 1)
            await stamped(sql, count)


async def test_a_sleeping_bridge_goes_on_having_itself_woken(
    database: str, claiming: Connection, sql: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mark holds for some seconds only; what is left of them when the clock jumps, or when a dump is restored, is nobody's guess."""
    monkeypatch.setattr(module, "RENEW_EVERY", 0.0)
    async with sequencing(database, claiming, Outlet()) as sequencer:
        await asleep(sequencer)
        await sql.execute("SELECT setval('rowcast.doorbell_until', 0)")

        async def rung_for() -> bool:
            left = "SELECT last_value - extract(epoch FROM clock_timestamp()) > 20 FROM rowcast.doorbell_until"
            return await (await sql.execute(left)).fetchone() == (True,)

        await until(rung_for)
        assert sequencer._nap.state is State.SETTLED


async def test_a_mark_that_somebody_else_took_away_is_set_again(
    database: str, claiming: Connection, sql: Connection
) -> None:
    """As a restored dump does. Else every row would wait for the poll from then on."""
    async with sequencing(database, claiming, Outlet()) as sequencer:
        await asleep(sequencer)
        await sql.execute("SELECT setval('rowcast.doorbell', %s)", (outbox.BUSY,))

        async def waiting() -> bool:
            return await doorbell(sql) == outbox.WAITING

        await until(waiting)
        await asleep(sequencer)


async def test_ranges_join_up_from_the_terms_start_on(database: str, claiming: Connection, sql: Connection) -> None:
    """`from` is always the end of the previous range."""
    await sql.execute("UPDATE rowcast.state SET last_seq = 7")
    outlet = Outlet()
    async with sequencing(database, claiming, outlet, batch=3) as sequencer:
        await insert(sql, 1, 2, EVERYONE, 1, 1, 1, 1, 1)
        await asleep(sequencer)
        await insert(sql, 1)
        await stamped(sql, 9)
        await until(lambda: sum(span.end - span.start for span in outlet.spans) == 9)
    assert outlet.term is not None
    assert outlet.term.start == 7
    ends = [outlet.term.end, *(span.end for span in outlet.spans)]
    assert [span.start for span in outlet.spans] == ends[:-1]


async def test_a_range_is_handed_over_only_once_its_commit_is_there(
    database: str, claiming: Connection, sql: Connection
) -> None:
    """Rule 1.1: what is published before the commit and then lost would come again under another seq."""
    committed: list[Range] = []

    class Looking(Outlet):
        async def stamped(self, source: Source, span: Range) -> None:
            await super().stamped(source, span)
            [(last_seq,)] = await (await sql.execute("SELECT last_seq FROM rowcast.state")).fetchall()
            if last_seq >= span.end:
                committed.append(span)

    outlet = Looking()
    async with sequencing(database, claiming, outlet, batch=2) as sequencer:
        await insert(sql, 1, 2, 3, 4, 5)
        await stamped(sql, 5)
        await asleep(sequencer)
    assert committed == outlet.spans


@pytest.mark.usefixtures("no_poll")
async def test_a_transaction_that_saw_busy_and_commits_late_is_found(
    database: str, claiming: Connection, sql: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rules 6.2 and 6.3: it rang nobody; while it runs, the bridge polls, fast at first."""
    claims = 0

    async def count(what: str) -> None:
        nonlocal claims
        claims += what == "after claim"

    hooked(monkeypatch, count)
    async with await psycopg.AsyncConnection.connect(database) as writer:
        assert await doorbell(sql) == outbox.BUSY
        await insert(writer, 1)
        async with sequencing(database, claiming, Outlet()) as sequencer:
            await until(lambda: sequencer._nap.state is State.WAITING)
            await insert(sql, 2)
            await stamped(sql, 1)
            assert sequencer._nap.state is State.WAITING
            last = claims + 6  # more than the ring is good for
            await until(lambda: claims >= last)
            await writer.commit()
            await stamped(sql, 2)
            await asleep(sequencer)


STEPS = ["set_doorbell", "own_xid", "claim", "oldest_running"]
Hook = Callable[[str], Awaitable[None]]


def hooked(monkeypatch: pytest.MonkeyPatch, hook: Hook) -> None:
    """Call `hook` before and after each statement by which the bridge falls asleep; the statements stay what they are."""
    for name in STEPS:
        real = getattr(outbox, name)

        def wrapped(real: Any = real, name: str = name) -> Callable[..., Awaitable[Any]]:
            async def step(*arguments: Any, **options: Any) -> Any:
                await hook(f"before {name}")
                result = await real(*arguments, **options)
                await hook(f"after {name}")
                return result

            return step

        monkeypatch.setattr(outbox, name, wrapped())


POINTS = 10  # before and after: set the doorbell, take an xid, claim, look, claim


@pytest.mark.usefixtures("no_poll")
@pytest.mark.parametrize("begin", range(POINTS))
async def test_no_moment_of_falling_asleep_loses_a_row(
    database: str, claiming: Connection, sql: Connection, monkeypatch: pytest.MonkeyPatch, begin: int
) -> None:
    """Rule 6.2: writers insert at one point of the dance and commit at any later one. [T: without (3) 23 stalls in 337 naps.]

    Points are counted from the first setting of the doorbell on. A writer that keeps the bridge awake adds points: two a look.
    """
    point = -1
    writers: dict[int, psycopg.AsyncConnection[Any]] = {}

    async def hook(what: str) -> None:
        nonlocal point
        if point < 0 and what != "before set_doorbell":
            return
        point += 1
        if point == begin:
            for at in (begin, begin + 1, begin + 3, begin + 6, begin + 12):
                writers[at] = await stack.enter_async_context(await psycopg.AsyncConnection.connect(database))
                await insert(writers[at], at)
        if point in writers:
            await writers[point].commit()

    hooked(monkeypatch, hook)
    async with AsyncExitStack() as stack, sequencing(database, claiming, Outlet()) as sequencer:
        await until(lambda: len(writers) == 5)
        await until(lambda: point >= max(writers) or sequencer._nap.state is State.SETTLED)
        for writer in writers.values():  # those whose moment did not come: it sleeps
            await writer.commit()
        await stamped(sql, 5)
        await asleep(sequencer)
        await insert(sql, 7)
        await stamped(sql, 6)


@pytest.mark.usefixtures("no_poll")
async def test_a_writer_held_up_before_its_row_is_there_rings(
    database: str, claiming: Connection, sql: Connection
) -> None:
    """Rule 6.2: it looks at the mark after its row, and with it its xid, is there; else nothing tells the bridge to wait for it."""
    await sql.execute(
        """
        CREATE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN PERFORM pg_advisory_lock_shared(7); PERFORM pg_advisory_unlock_shared(7); RETURN NEW; END $$;
        CREATE TRIGGER the_last_before_the_row BEFORE INSERT ON notifications FOR EACH ROW EXECUTE FUNCTION gate();
        """
    )
    await sql.execute("SELECT pg_advisory_lock(7)")
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as writer:
        # Id and birth of its own choice: a default gives it an xid.
        row = writer.execute("INSERT INTO notifications (id, user_id, message, born) VALUES (1000, 1, 'held up', '1')")
        async with running(row) as [inserting]:
            await until(lambda: _waits_at_the_gate(sql))
            async with sequencing(database, claiming, Outlet()) as sequencer:
                await asleep(sequencer)
                await sql.execute("SELECT pg_advisory_unlock(7)")
                await inserting
                await stamped(sql, 1)


async def _waits_at_the_gate(sql: Connection) -> bool:
    waiting = await sql.execute(
        "SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = 7 AND NOT granted "
        "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    return bool(await waiting.fetchall())


@pytest.mark.usefixtures("no_poll")
async def test_rows_behind_a_lock_come_when_it_is_gone_though_nobody_rings(
    database: str, claiming: Connection, sql: Connection
) -> None:
    """Rule 1.4: while anything is held back, poll fast at first (no NOTIFY tells that a lock went)."""
    ids = await insert(sql, 1, 2, 1)
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as locker:
        await lock(locker, ids[:1])
        async with sequencing(database, claiming, Outlet()) as sequencer:
            await stamped(sql, 1)
            await until(lambda: sequencer._stamper.holds_back)
            await locker.execute("COMMIT")
            await stamped(sql, 3)
            assert await in_order(sql) == [ids[1], ids[0], ids[2]]


@pytest.mark.usefixtures("no_poll")
async def test_rows_locked_while_the_bridge_sleeps_come_when_the_lock_goes(
    database: str, claiming: Connection, sql: Connection
) -> None:
    """Rule 1.4 once more: no transaction older than its sleep keeps it polling here."""
    async with (
        await psycopg.AsyncConnection.connect(database, autocommit=True) as locker,
        sequencing(database, claiming, Outlet()) as sequencer,
    ):
        await asleep(sequencer)
        await sql.execute("SET rowcast.notify = 'off'")
        await lock(locker, await insert(sql, 1))
        await sql.execute("NOTIFY rowcast")
        await until(lambda: sequencer._stamper.holds_back)
        await locker.execute("COMMIT")
        await stamped(sql, 1)


@pytest.mark.parametrize("patience", [walk.PATIENCE, 0.0], ids=["patient", "impatient"])
async def test_rows_behind_a_long_block_of_locked_ones_come_though_a_poll_is_always_due(
    database: str, claiming: Connection, sql: Connection, monkeypatch: pytest.MonkeyPatch, patience: float
) -> None:
    """Rule 1.4: a poll begins at the oldest row, and none before the claims have come past the block; or the next one comes further."""
    for name in ("HEARTBEAT", "FIRST_HEARTBEAT", "FIRST_POLL"):
        monkeypatch.setattr(module, name, 0.0)
    monkeypatch.setattr(walk, "PATIENCE", patience)
    monkeypatch.setattr(backlog, "TAIL_ROWS", 0)  # else they would pass the block, as the newest rows of all
    block = await insert(sql, *range(100))
    behind = await insert(sql, *range(100, 107))
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as locker:
        await lock(locker, block)
        async with sequencing(database, claiming, Outlet(), batch=5):
            await stamped(sql, 7)
            assert await in_order(sql) == behind
            await locker.execute("COMMIT")
            await stamped(sql, 107)


async def test_rows_whose_ring_was_lost_come_with_the_poll(
    database: str, claiming: Connection, sql: Connection
) -> None:
    """Belt and braces: a crash wipes the queue of notifications. No poll is rarer than the heartbeat, whatever the setting."""
    await sql.execute("ALTER TABLE notifications DISABLE TRIGGER rowcast_ring")
    async with sequencing(database, claiming, Outlet()) as sequencer:
        await asleep(sequencer)
        await insert(sql, 1)
        await stamped(sql, 1)


async def test_rows_that_came_round_the_trigger_with_another_birth_come_with_a_poll(
    database: str, claiming: Connection, sql: Connection
) -> None:
    """As a dump of another server does that is loaded with its triggers off. Each time: a look at all rows is due again and again."""
    await sql.execute("ALTER TABLE notifications DISABLE TRIGGER rowcast_ring")
    async with sequencing(database, claiming, Outlet()) as sequencer:
        for count in (1, 2):
            await asleep(sequencer)
            await sql.execute("INSERT INTO notifications (user_id, message, born) VALUES (1, 'loaded', '1')")
            await stamped(sql, count)


async def test_without_anybody_listening_writers_are_not_made_to_ring_and_rows_come(
    database: str, claiming: Connection, sql: Connection
) -> None:
    """Rule 6.1: LISTEN is committed before waiting is set."""
    async with sequencing(database, claiming, Outlet(), listening=False) as sequencer:
        await insert(sql, 1)
        await stamped(sql, 1)
        assert sequencer._nap.state is State.BUSY
        assert await doorbell(sql) == outbox.BUSY


@pytest.mark.usefixtures("no_poll")
async def test_a_lost_listen_is_made_again_and_what_came_meanwhile_is_claimed(
    database: str, claiming: Connection, sql: Connection
) -> None:
    """Rule 2.1: each new LISTEN is followed by a claim."""
    async with sequencing(database, claiming, Outlet()) as sequencer:
        await asleep(sequencer)
        for count in range(1, 4):
            await sql.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'rowcast-listen' AND datname = current_database()"
            )
            await insert(sql, 1)
            await stamped(sql, count)


async def test_the_claim_session_answers_every_second(database: str, claiming: Connection, sql: Connection) -> None:
    """Rule 3.3: the mark {e, e} goes after the claim session has answered in that second."""
    outlet = Outlet()
    async with sequencing(database, claiming, outlet) as sequencer:
        await asleep(sequencer)
        await until(lambda: len(outlet.alive_at) >= 3, timeout=6)
        assert outlet.term is not None
        assert set(outlet.alive_at) == {outlet.term.end}


async def test_a_claim_session_that_does_not_answer_gives_no_sign_of_life(
    database: str, claiming: Connection, sql: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rule 3.3: a leader that lost Postgres but not Redis must not hide it."""
    monkeypatch.setattr(module, "FIRST_HEARTBEAT", 0.01)
    outlet = Outlet()
    async with sequencing(database, claiming, outlet) as sequencer:
        await asleep(sequencer)
        await until(lambda: len(outlet.alive_at) > 1)
        await sql.execute("BEGIN")
        await sql.execute("LOCK TABLE rowcast.state IN ACCESS EXCLUSIVE MODE")
        await until(lambda: _claim_hangs(sql, 0.0))
        alive = len(outlet.alive_at)
        await until(lambda: _claim_hangs(sql, 0.2))
        assert len(outlet.alive_at) == alive
        await sql.execute("ROLLBACK")
        await until(lambda: len(outlet.alive_at) > alive)


async def _claim_hangs(sql: Connection, seconds: float) -> bool:
    """Has the claim session waited for a lock for so long?"""
    hanging = await sql.execute(
        "SELECT FROM pg_stat_activity WHERE application_name = 'rowcast-claim' AND datname = current_database() "
        "AND wait_event_type = 'Lock' AND clock_timestamp() - query_start >= %s * interval '1 s'",
        (seconds,),
    )
    return bool(await hanging.fetchall())


@pytest.mark.usefixtures("no_poll")
async def test_a_bridge_that_leaves_spares_writers_the_bell(
    database: str, claiming: Connection, sql: Connection
) -> None:
    """Rule 6.4: busy before it unlocks, so that writers don't pay for a bridge that is not there."""
    bell, outlet = Bell(), Outlet()
    sequencer = Sequencer(claiming, bell, outlet, BridgeConfig(database, poll_interval=60), SystemClock())
    async with running(Listener(database, bell, SystemClock()).run(), sequencer.run()) as [_, work]:
        await asleep(sequencer)
        sequencer.stopping = True
        bell.ring()
        async with asyncio.timeout(5):
            await work
        assert await doorbell(sql) == outbox.BUSY


async def test_under_load_writers_are_spared_the_bell(database: str, claiming: Connection, sql: Connection) -> None:
    """Rule 6.4: busy only after the first claim. And it falls asleep again afterwards."""
    seen = set()
    async with sequencing(database, claiming, Outlet(), batch=10) as sequencer:
        await asleep(sequencer)
        async with sql.cursor() as cursor:
            await cursor.executemany(
                "INSERT INTO notifications (user_id, message) VALUES (%s, 'x')", [(user % 7,) for user in range(2000)]
            )

        async def all_stamped() -> bool:
            seen.add(await doorbell(sql))
            return len(await in_order(sql)) == 2000

        await until(all_stamped)
        await asleep(sequencer)
    assert outbox.BUSY in seen
    assert await in_order(sql) == sorted(await in_order(sql))


async def test_a_lost_claim_session_ends_the_term(database: str, sql: Connection) -> None:
    """Rule 2.1: who lost it can neither claim nor set the doorbell."""
    with pytest.raises(DatabaseUnavailableError):
        await _lead_until_the_session_is_ended(database, sql)


async def _lead_until_the_session_is_ended(database: str, sql: Connection) -> None:
    async with session(database, name="rowcast-claim") as claiming, sequencing(database, claiming, Outlet()) as made:
        await asleep(made)
        await sql.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'rowcast-claim' AND datname = current_database()"
        )
        await asyncio.Event().wait()


async def test_slow_commits_make_claims_no_smaller(database: str, claiming: Connection, sql: Connection) -> None:
    """A slow disk or standby takes as long over a claim of one row; smaller claims would only fall behind."""
    await sql.execute(
        "CREATE FUNCTION at_commit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(1.2); RETURN NULL; END $$"
    )
    await sql.execute(
        "CREATE CONSTRAINT TRIGGER at_commit AFTER UPDATE ON notifications DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION at_commit()"
    )
    outlet = Outlet()
    async with sequencing(database, claiming, outlet) as sequencer:
        await until(lambda: outlet.term is not None)
        await insert(sql, 1)
        await stamped(sql, 1)
        await until(lambda: bool(outlet.spans))
        assert sequencer._stamper._batch.rows == 1000


@pytest.mark.parametrize(("rows", "pause"), [(0, 0.002), (1, 0.002), (4, 0.002), (10, 0.005), (40, 0.02), (1000, 0.02)])
def test_the_more_rows_come_the_longer_it_waits_between_claims_up_to_a_fiftieth_of_a_second(
    rows: int, pause: float
) -> None:
    assert module.pause_after(rows) == pytest.approx(pause)
