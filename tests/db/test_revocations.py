"""The list of what was revoked: in the order of commits, one row for each user and token, kept for as long as a token may live."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest
from psycopg import AsyncConnection
from psycopg.conninfo import make_conninfo

from core.errors import DatabaseUnavailableError
from core.user_ids import UserIdType
from db.connect import Connection, DatabaseConfig, open_pool
from db.revocations import PAGE, Pool, Revocation, RevocationList
from tests.db.databases import Databases
from tests.db.plans import on, plan_of
from tests.waiting import until

HOUR = 3600.0


@pytest.fixture
def kind() -> UserIdType:
    return UserIdType.BIGINT


@pytest.fixture
def database(databases: Databases, kind: UserIdType) -> Iterator[str]:
    with databases.migrated(kind) as address:
        yield address


@pytest.fixture
def web(databases: Databases, database: str) -> Iterator[str]:
    """With the rights of the web and no others."""
    with databases.login("rowcast_web") as name:
        yield make_conninfo(database, user=name, password="test")


@pytest.fixture
async def pool(web: str) -> AsyncIterator[Pool]:
    async with open_pool(DatabaseConfig(web, 1), name="revocations") as made:
        yield made


@pytest.fixture
async def revoking(web: str) -> AsyncIterator[Pool]:
    async with open_pool(DatabaseConfig(web, 1), name="revoking", seldom=True) as made:
        yield made


@pytest.fixture
def listed(pool: Pool, revoking: Pool) -> RevocationList:
    return RevocationList(pool, revoking)


async def everything(pool: Pool) -> list[Revocation]:
    """The list, as one sees it who comes new."""
    reader, found = RevocationList(pool, pool), []
    while page := await reader.news():
        found += page
    return found


async def clock(session: Connection) -> float:
    row = await (await session.execute("SELECT extract(epoch FROM clock_timestamp())::float8")).fetchone()
    assert row
    return float(row[0])


@pytest.mark.parametrize(
    ("kind", "user_id"),
    [
        (UserIdType.BIGINT, "-7"),
        (UserIdType.UUID, "6ba7b810-9dad-11d1-80b4-00c04fd430c8"),
        (UserIdType.TEXT, "Zoë/\n'\""),
    ],
)
async def test_it_names_the_user_or_the_token_and_when_by_the_clock_of_postgres(
    listed: RevocationList, other: Connection, user_id: str
) -> None:
    began = await clock(other)
    user = await listed.add(user_id=user_id)
    token = await listed.add(token_id="jti ü", expires_at=began + HOUR)
    assert (user.user_id, user.token_id, user.expires_at) == (user_id, None, None)
    assert (token.user_id, token.token_id) == (None, "jti ü")
    assert token.expires_at == pytest.approx(began + HOUR, abs=1e-5)
    assert began <= user.revoked_at <= token.revoked_at <= await clock(other)
    assert await listed.news() == [user, token]
    assert await listed.news() == []


async def test_a_second_time_takes_the_place_of_the_first(listed: RevocationList, pool: Pool) -> None:
    first, other = await listed.add(user_id="1"), await listed.add(user_id="2")
    assert await listed.news() == [first, other]
    second = await listed.add(user_id="1")
    assert second.revoked_at > first.revoked_at
    assert await listed.news() == [second]
    assert await everything(pool) == [other, second]


@pytest.mark.parametrize(
    ("first", "second", "kept"), [(None, HOUR, None), (HOUR, None, None), (2 * HOUR, HOUR, 2 * HOUR)]
)
async def test_it_is_kept_for_as_long_as_either_time_asked_for(
    listed: RevocationList, other: Connection, first: float | None, second: float | None, kept: float | None
) -> None:
    now = await clock(other)
    for seconds in (first, second):
        revoked = await listed.add(token_id="t", expires_at=None if seconds is None else now + seconds)
    assert revoked.expires_at == (None if kept is None else pytest.approx(now + kept, abs=1e-5))


async def test_what_has_expired_an_hour_ago_goes_with_the_next(listed: RevocationList, other: Connection) -> None:
    now = await clock(other)
    await listed.add(token_id="long ago", expires_at=now - HOUR - 60)
    lately = await listed.add(token_id="lately", expires_at=now - HOUR + 60)
    ever = await listed.add(token_id="for ever")
    assert await listed.news() == [lately, ever]


async def test_a_clock_that_was_set_back_takes_nothing_back(listed: RevocationList, other: Connection) -> None:
    """No id comes twice or below another, and what was refused up to some moment stays so."""
    first = await listed.add(user_id="1")
    await other.execute(
        "UPDATE rowcast.revocations SET id = id + 3600000000, revoked_at = revoked_at + interval '1 hour'"
    )
    second, third = await listed.add(user_id="1"), await listed.add(user_id="2")
    assert first.id + HOUR * 1e6 < second.id < third.id
    assert second.revoked_at == pytest.approx(first.revoked_at + HOUR, abs=1e-5)
    assert third.revoked_at < first.revoked_at + HOUR / 2


async def test_an_id_does_not_come_again_when_rows_are_deleted(listed: RevocationList, other: Connection) -> None:
    """Or who has read up to there would take what comes now for known."""
    first = await listed.add(user_id="1")
    assert await listed.news() == [first]
    await other.execute("DELETE FROM rowcast.revocations")
    second = await listed.add(user_id="2")
    assert await listed.news() == [second]


async def test_in_a_new_session_all_is_read_again(listed: RevocationList, pool: Pool, other: Connection) -> None:
    """After a failover that lost the last few, what is revoked next may stand below what was read before."""
    first, second = await listed.add(user_id="1"), await listed.add(user_id="2")
    assert await listed.news() == [first, second]
    await other.execute("UPDATE rowcast.revocations SET id = id - 3600000000 WHERE user_id = 2")
    assert await listed.news() == []
    await other.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'revocations'")
    assert [entry.user_id for entry in await listed.news()] == ["2", "1"]


async def test_ids_are_in_the_order_of_commits_and_reading_waits_for_nobody(
    listed: RevocationList, web: str, database: str, other: Connection
) -> None:
    """One that is begun first and commits last would else be below where readers stand, and be missed by all of them."""
    async with (
        await AsyncConnection.connect(database) as slow,
        open_pool(DatabaseConfig(web, 1), name="reader") as elsewhere,
    ):
        await slow.execute("SELECT rowcast.revoke('1', NULL, NULL)")
        async with asyncio.TaskGroup() as tasks:
            adding = tasks.create_task(listed.add(user_id="2"), name="second")
            await until(lambda: _waits(other))
            assert await everything(elsewhere) == []
            await slow.commit()
    first, second = await listed.news()
    assert (first.user_id, second) == ("1", adding.result())
    assert first.revoked_at < second.revoked_at


async def test_one_that_is_given_up_keeps_nobody_waiting(
    listed: RevocationList, database: str, other: Connection
) -> None:
    async with await AsyncConnection.connect(database) as slow:
        await slow.execute("SELECT rowcast.revoke('1', NULL, NULL)")
        adding = asyncio.get_running_loop().create_task(listed.add(user_id="2"), name="given up")
        await until(lambda: _waits(other))
        adding.cancel()
        with pytest.raises(asyncio.CancelledError):
            await adding
        await slow.commit()
    async with asyncio.timeout(5):
        await listed.add(user_id="3")


@pytest.mark.slow
async def test_a_lock_that_somebody_keeps_is_given_up_in_three_seconds(listed: RevocationList, database: str) -> None:
    async with await AsyncConnection.connect(database) as owner:
        await owner.execute("DELETE FROM rowcast.revocations")
        with pytest.raises(DatabaseUnavailableError, match="lock timeout"):
            await listed.add(user_id="2")


@pytest.mark.slow
async def test_a_vacuum_that_gives_way_after_a_second_is_waited_for(
    listed: RevocationList, database: str, other: Connection
) -> None:
    """Autovacuum leaves a table to who wants it after deadlock_timeout, 1 s, and the time it takes to stop."""
    async with await AsyncConnection.connect(database) as vacuum:
        await vacuum.execute("LOCK TABLE rowcast.revocations IN SHARE UPDATE EXCLUSIVE MODE")
        async with asyncio.TaskGroup() as tasks:
            adding = tasks.create_task(listed.add(user_id="1"), name="waits")
            await until(lambda: _waits(other))
            await vacuum.execute("SELECT pg_sleep(1.2); COMMIT")
    assert await listed.news() == [adding.result()]


async def test_who_waits_for_a_lock_keeps_nobody_from_reading(
    listed: RevocationList, database: str, other: Connection
) -> None:
    await other.execute("ALTER FUNCTION rowcast.revoke SET lock_timeout = '60s'")  # which is not what is looked at here
    first = await listed.add(user_id="1")
    async with await AsyncConnection.connect(database) as owner, asyncio.TaskGroup() as tasks:
        await owner.execute("LOCK TABLE rowcast.revocations IN SHARE UPDATE EXCLUSIVE MODE")
        adding = tasks.create_task(listed.add(user_id="2"), name="waits")
        await until(lambda: _waits(other))
        assert await listed.news() == [first]
        assert not adding.done()
        await owner.rollback()
    assert await listed.news() == [adding.result()]


async def test_no_session_is_held_for_revoking_before_somebody_revokes(
    listed: RevocationList, pool: Pool, other: Connection
) -> None:
    await listed.news()

    async def sessions() -> int:
        found = await other.execute("SELECT FROM pg_stat_activity WHERE application_name = 'revoking'")
        return found.rowcount

    assert await sessions() == 0
    await listed.add(user_id="1")
    assert await sessions() == 1


async def test_it_is_on_disk_before_it_is_answered_whatever_the_database_is_set_to(database: str) -> None:
    async with await AsyncConnection.connect(database) as session:
        await session.execute("SET synchronous_commit = off")
        await session.execute("SELECT rowcast.revoke('1', NULL, NULL)")
        assert await (await session.execute("SHOW synchronous_commit")).fetchone() == ("on",)


async def test_ten_thousand_are_read_in_a_second_and_none_of_them_by_who_has_read_all(
    listed: RevocationList, pool: Pool, other: Connection
) -> None:
    count = 2 * PAGE
    await other.execute(
        "INSERT INTO rowcast.revocations SELECT i, i, NULL, '2026-01-31Z', NULL FROM generate_series(1, %s) AS i",
        (count,),
    )
    async with asyncio.timeout(1):
        found = await everything(pool)
    first = Revocation(1, "1", None, found[0].revoked_at)
    assert found == [replace(first, id=number, user_id=str(number)) for number in range(1, count + 1)]
    await other.execute("ANALYZE rowcast.revocations")
    nodes = await plan_of(other, "revocations", {"after": count, "page": PAGE}, generic=False)
    assert [(node.index, node.rows) for node in on(nodes, "revocations")] == [("revocations_pkey", 0)]


async def _waits(session: Connection) -> bool:
    waiting = await session.execute(
        "SELECT FROM pg_locks WHERE relation = 'rowcast.revocations'::regclass AND NOT granted"
    )
    return bool(waiting.rowcount)
