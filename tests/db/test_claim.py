"""The rules of stamping: what a claim takes, in which order, what it leaves for later, and that it waits for nobody."""

from __future__ import annotations

import asyncio

import pytest
from psycopg import AsyncClientCursor, AsyncConnection

from core.events import Range
from core.user_ids import UserIdType
from db.connect import Connection, session
from db.outbox import BUSY, EVERYWHERE, NOTHING_HELD, SOURCES, Claim, HeldBack, claim, claim_parameters, start_term
from db.queries import query
from tests.db.databases import Databases
from tests.db.rows import EVERYONE, in_order, insert, lock
from tests.waiting import until

pytestmark = pytest.mark.every_postgres

[NOTIFICATIONS] = SOURCES


async def take(bridge: Connection, held_back: HeldBack = NOTHING_HELD, *, batch: int = 1000) -> Claim:
    """One claim, which must not wait for anybody."""
    async with asyncio.timeout(5):
        return await claim(bridge, NOTIFICATIONS, held_back, batch=batch)


async def poll(bridge: Connection, *, batch: int = 1000) -> list[Claim]:
    """The claims of one poll: on and on while there is more, leaving out what the ones before had to."""
    claims = [await take(bridge, batch=batch)]
    while claims[-1].more:
        claims.append(await take(bridge, claims[-1].held_back, batch=batch))
    return claims


async def test_oldest_id_first_whoever_it_is_for(bridge: Connection, other: Connection) -> None:
    ids = await insert(other, 2, 1, EVERYONE, 2, 1, -3, 0)
    got = await take(bridge)
    assert await in_order(other) == ids
    assert (got.rows, got.more, got.held_back) == (7, False, NOTHING_HELD)
    assert got.stamped == Range(0, 7)
    counted = await other.execute("SELECT count(*) FROM public.notifications WHERE is_sent AND seq IS NOT NULL")
    assert await counted.fetchone() == (7,)


@pytest.mark.parametrize("user", [1, EVERYONE], ids=["for one user", "for everyone"])
async def test_the_highest_id_there_is(bridge: Connection, other: Connection, user: int | None) -> None:
    ids = await insert(other, 1, EVERYONE)
    await other.execute("INSERT INTO notifications (id, user_id, message) VALUES (%s, %s, 'm')", (2**63 - 1, user))
    await take(bridge)
    assert await in_order(other) == [*ids, 2**63 - 1]


async def test_nothing_to_do_changes_nothing(bridge: Connection) -> None:
    assert await take(bridge) == Claim(None, 0, False, NOTHING_HELD, EVERYWHERE, BUSY, seconds=0)
    assert await (await bridge.execute("SELECT last_seq FROM rowcast.state")).fetchone() == (0,)


async def test_what_a_claim_takes_is_told_without_its_commit(bridge: Connection, other: Connection) -> None:
    """Time for rows, a trigger of the users' own included, is a reason for smaller batches; a slow flush, or standby, is none."""
    for when, event in (("before", "BEFORE"), ("at_commit", "AFTER")):
        await other.execute(
            f"CREATE FUNCTION {when}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.3); RETURN NEW; END $$"
        )
        late = "CONSTRAINT" if event == "AFTER" else ""
        deferred = "DEFERRABLE INITIALLY DEFERRED" if late else ""
        await other.execute(
            f"CREATE {late} TRIGGER {when} {event} UPDATE ON notifications {deferred} FOR EACH ROW EXECUTE FUNCTION {when}()"
        )
    await insert(other, 1, 2)
    began = asyncio.get_running_loop().time()
    told = (await take(bridge)).seconds
    assert 0.6 <= told < 0.9
    assert asyncio.get_running_loop().time() - began >= told + 0.6


async def test_batches_follow_each_other_without_a_gap(bridge: Connection, other: Connection) -> None:
    ids = await insert(other, *range(5))
    claims = await poll(bridge, batch=2)
    assert [(c.stamped, c.rows, c.more) for c in claims] == [
        (Range(0, 2), 2, True),
        (Range(2, 4), 2, True),
        (Range(4, 5), 1, False),
    ]
    assert await in_order(other) == ids


async def test_the_range_begins_where_the_last_ended_also_over_a_claim_that_was_rolled_back(
    bridge: Connection, other: Connection
) -> None:
    await insert(other, 1)
    assert (await take(bridge)).stamped == Range(0, 1)
    await insert(other, 1, 2)
    await bridge.execute("BEGIN")
    assert (await take(bridge)).stamped == Range(1, 3)
    await bridge.execute("ROLLBACK")
    assert (await take(bridge)).stamped == Range(1, 5)


async def test_a_rolled_back_row_is_nobodys(bridge: Connection, other: Connection) -> None:
    await other.execute("BEGIN")
    await insert(other, 1)
    assert (await take(bridge)).rows == 0
    await other.execute("ROLLBACK")
    assert (await take(bridge)).rows == 0


async def test_a_row_that_commits_late_comes_late(bridge: Connection, database: str, other: Connection) -> None:
    """Ids are not in commit order; the log is."""
    await other.execute("BEGIN")
    [late] = await insert(other, 1)
    async with await AsyncConnection.connect(database, autocommit=True) as third:
        [early] = await insert(third, 1)
    await take(bridge)
    await other.execute("COMMIT")
    await take(bridge)
    assert await in_order(bridge) == [early, late]


async def test_a_locked_row_holds_back_later_rows_of_its_user_only(bridge: Connection, other: Connection) -> None:
    before, locked, after, someone, someone_else = await insert(other, 1, 1, 1, 2, 3)
    await lock(other, [locked])
    got = await take(bridge)
    assert await in_order(bridge) == [before, someone, someone_else]
    assert got.held_back == HeldBack("{1}", locked)
    await other.execute("ROLLBACK")
    await take(bridge)
    assert await in_order(bridge) == [before, someone, someone_else, locked, after]


async def test_a_locked_row_holds_back_later_rows_for_everyone_and_all_after_them(
    bridge: Connection, other: Connection
) -> None:
    early, locked, someone, everyone, after = await insert(other, EVERYONE, 1, 2, EVERYONE, 2)
    await lock(other, [locked])
    await take(bridge)
    assert await in_order(bridge) == [early, someone]
    await other.execute("ROLLBACK")
    await take(bridge)
    assert await in_order(bridge) == [early, someone, locked, everyone, after]


async def test_a_locked_row_for_everyone_holds_back_all_later_rows(bridge: Connection, other: Connection) -> None:
    first, everyone, second, third = await insert(other, 1, EVERYONE, 1, 2)
    await lock(other, [everyone])
    got = await take(bridge)
    assert await in_order(bridge) == [first]
    assert got.held_back == HeldBack("{}", everyone)
    again = await take(bridge, got.held_back)
    assert (again.rows, again.held_back) == (0, got.held_back)
    await other.execute("ROLLBACK")
    await take(bridge)
    assert await in_order(bridge) == [first, everyone, second, third]


async def test_who_was_left_out_stays_out_until_the_next_poll(bridge: Connection, other: Connection) -> None:
    """A lock that goes between two claims of one poll lets nobody past what was left out in the first."""
    locked, someone = await insert(other, 1, 2)
    await lock(other, [locked])
    first = await take(bridge)
    await other.execute("ROLLBACK")
    after, more, everyone, behind = await insert(other, 1, 2, EVERYONE, 2)
    second = await take(bridge, first.held_back)
    assert await in_order(bridge) == [someone, more]
    assert second.held_back == first.held_back
    await take(bridge)
    assert await in_order(bridge) == [someone, more, locked, after, everyone, behind]


async def test_what_is_left_out_adds_up(bridge: Connection, database: str, other: Connection) -> None:
    first, _, second = await insert(other, 1, 3, 2)
    await lock(other, [first])
    one = await take(bridge, batch=2)
    assert (one.held_back, one.more) == (HeldBack("{1}", first), True)
    async with await AsyncConnection.connect(database, autocommit=True) as third:
        await lock(third, [second])
        two = await take(bridge, one.held_back, batch=2)
    assert two.held_back == HeldBack("{1,2}", first)


async def test_a_row_for_everyone_below_the_lowest_left_out_still_goes(
    bridge: Connection, database: str, other: Connection
) -> None:
    """Its id was drawn before that of the row left out, so nobody was promised that it comes after it."""
    async with await AsyncConnection.connect(database, autocommit=True) as third:
        await third.execute("BEGIN")
        [everyone] = await insert(third, EVERYONE)
        [locked] = await insert(other, 1)
        await lock(other, [locked])
        first = await take(bridge)
        await third.execute("COMMIT")
    assert (await take(bridge, first.held_back)).rows == 1
    assert await in_order(bridge) == [everyone]


@pytest.mark.parametrize("behind", [1, EVERYONE])
async def test_rows_behind_a_locked_one_starve_nobody(
    bridge: Connection, other: Connection, behind: int | None
) -> None:
    """1,500 rows of one user, more than a batch, then 20 of others; then, for good measure, a row for everyone."""
    await other.execute(
        "INSERT INTO public.notifications (user_id, message) SELECT 1, i FROM generate_series(1, 1500) AS i"
    )
    row = await (await other.execute("SELECT min(id) FROM public.notifications")).fetchone()
    assert row is not None
    others = await insert(other, *range(2, 22))
    tail = await insert(other, behind, 2)
    await lock(other, [row[0]])
    claims = await poll(bridge, batch=1000)
    assert await in_order(bridge) == [*others, *(tail[1:] if behind == 1 else [])]
    assert len(claims) == 2
    await other.execute("ROLLBACK")
    await poll(bridge, batch=1000)
    assert (await in_order(bridge))[-2:] == tail if behind is EVERYONE else True
    assert len(await in_order(bridge)) == 1522


async def test_a_full_batch_behind_one_barrier_is_the_end(bridge: Connection, other: Connection) -> None:
    """No busy loop: the same lock, a full batch, nothing taken."""
    ids = await insert(other, EVERYONE, *range(10))
    await lock(other, ids[:1])
    claims = await poll(bridge, batch=3)
    assert len(claims) <= 2
    assert await in_order(bridge) == []


async def test_a_row_that_an_open_transaction_updated_counts_as_locked(bridge: Connection, other: Connection) -> None:
    first, second = await insert(other, 1, 1)
    await other.execute("BEGIN")
    await other.execute("UPDATE public.notifications SET is_viewed = true WHERE id = %s", (first,))
    assert (await take(bridge)).rows == 0
    await other.execute("COMMIT")
    await take(bridge)
    assert await in_order(bridge) == [first, second]


@pytest.mark.parametrize(
    "change", ["UPDATE public.notifications SET is_viewed = true", "DELETE FROM public.notifications"]
)
async def test_a_row_changed_since_the_snapshot_counts_as_locked(
    bridge: Connection, database: str, other: Connection, change: str
) -> None:
    """The claim is held up after its snapshot was taken, before it looks at the rows, until the change has committed."""
    changed, later, someone = await insert(other, 1, 1, 2)
    await other.execute(
        """
        CREATE FUNCTION public.gate() RETURNS boolean LANGUAGE plpgsql AS $$
        BEGIN PERFORM pg_advisory_lock_shared(7); PERFORM pg_advisory_unlock_shared(7); RETURN true; END $$;
        ALTER TABLE rowcast.state RENAME TO gated;
        CREATE VIEW rowcast.state AS SELECT * FROM rowcast.gated WHERE public.gate();
        """
    )
    await other.execute("SELECT pg_advisory_lock(7)")
    async with asyncio.TaskGroup() as group:
        claiming = group.create_task(take(bridge))
        waiting = (
            "SELECT count(*), pg_sleep(0.01) FROM pg_locks WHERE locktype = 'advisory' AND objid = 7 AND NOT granted"
        )
        while (row := await (await other.execute(waiting)).fetchone()) and not row[0]:
            assert not claiming.done()
        async with await AsyncConnection.connect(database, autocommit=True) as third:
            await third.execute(f"{change} WHERE id = {changed}".encode())
        await other.execute("SELECT pg_advisory_unlock(7)")
    got = claiming.result()
    assert await in_order(other) == [someone]
    assert got.held_back == HeldBack("{1}", changed)
    await take(bridge)
    assert await in_order(other) == ([someone, changed, later] if change.startswith("UPDATE") else [someone, later])


async def test_a_claim_commits_though_its_client_is_frozen_and_reads_no_answer(
    database: str, other: Connection
) -> None:
    """It returns positions and no bodies: 32 MB of them would fill the connection and keep the claim, its locks and the lead."""
    await other.execute(
        "INSERT INTO public.notifications (user_id, message) SELECT 1, repeat('x', 1 << 20) FROM generate_series(1, 32)"
    )
    async with await AsyncConnection.connect(database, autocommit=True) as frozen:
        statement = AsyncClientCursor(frozen).mogrify(
            query(NOTIFICATIONS.claim),
            claim_parameters(batch=1000),
        )
        frozen.pgconn.send_query(statement.encode())
        frozen.pgconn.flush()

        async def committed() -> bool:
            return len(await in_order(other)) == 32

        await until(committed)
        frozen.pgconn.finish()


async def test_no_wait_for_an_open_insert_into_a_table_that_references_ours(
    bridge: Connection, other: Connection
) -> None:
    [first] = await insert(other, 1)
    await other.execute("CREATE TABLE public.receipts (notification bigint REFERENCES public.notifications)")
    await other.execute("BEGIN")
    await other.execute("INSERT INTO public.receipts VALUES (%s)", (first,))
    got = await take(bridge)
    assert (got.rows, got.held_back) == (1, NOTHING_HELD)


@pytest.mark.parametrize("role", ["origin", "replica"])
async def test_a_seq_is_never_taken_back(bridge: Connection, other: Connection, role: str) -> None:
    """As logical replication's apply would: its sessions fire only triggers that are ENABLE ALWAYS."""
    await insert(other, 1)
    await take(bridge)
    await other.execute(f"SET session_replication_role = {role}".encode())
    await other.execute("UPDATE public.notifications SET seq = NULL, message = 'changed'")
    rows = await other.execute("SELECT seq, is_sent, message FROM public.notifications")
    assert await rows.fetchall() == [(1, True, "changed")]
    assert (await take(bridge)).rows == 0


async def test_user_ids_that_look_like_array_syntax(databases: Databases) -> None:
    odd = ["NULL", "{}", '"', "\\", "a,b", " ", "é", "null", "'", "%s"]
    with databases.migrated(UserIdType.TEXT) as address:
        async with (
            session(address, name="bridge") as bridge,
            await AsyncConnection.connect(address, autocommit=True) as other,
        ):
            first = await insert(other, *odd)
            await insert(other, *odd)
            await lock(other, first)
            got = await take(bridge)
            again = await take(bridge, got.held_back)
            assert (got.rows, again.rows, again.held_back) == (0, 0, got.held_back)
            await other.execute("ROLLBACK")
            assert (await take(bridge, got.held_back)).rows == 0
            assert (await take(bridge)).rows == 20


async def test_uuid_user_ids_are_held_back_too(databases: Databases) -> None:
    user = "00000000-0000-0000-0000-000000000001"
    with databases.migrated(UserIdType.UUID) as address:
        async with (
            session(address, name="bridge") as bridge,
            await AsyncConnection.connect(address, autocommit=True) as other,
        ):
            [first, _] = await insert(other, user, user)
            await lock(other, [first])
            got = await take(bridge)
            assert got.held_back == HeldBack(f"{{{user}}}", first)
            assert (await take(bridge, got.held_back)).rows == 0


async def test_a_term_starts_above_all_that_was_ever_given(bridge: Connection, other: Connection) -> None:
    row = await (
        await other.execute(
            "SELECT 1000000 * floor(extract(epoch FROM now() - timestamptz '2020-01-01 00:00+00'))::bigint"
        )
    ).fetchone()
    assert row is not None
    first = await start_term(bridge)
    assert first.start == 0
    assert first.end > row[0]
    assert first.end % 1_000_000 == 0
    [_] = await insert(other, 1)
    assert (await take(bridge)).stamped == Range(first.end, first.end + 1)
    second = await start_term(bridge)
    assert second.start == first.end + 1
    assert second.end > second.start


@pytest.mark.parametrize(
    "ahead", ["UPDATE rowcast.state SET last_seq = 9000000000000123", "SELECT setval('rowcast.seq', 9000000000000123)"]
)
async def test_a_term_starts_above_the_log_and_the_sequence_whatever_the_clock_says(
    bridge: Connection, other: Connection, ahead: str
) -> None:
    await other.execute(ahead.encode())
    assert (await start_term(bridge)).end == 9000000001000000
    await insert(other, 1)
    got = (await take(bridge)).stamped
    assert got == Range(9000000001000000, 9000000001000001)
