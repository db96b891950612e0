"""The recipes of docs/partitioning.md, run as they stand there; what a partitioned table must still be able to do."""

from __future__ import annotations

import re
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict

from core.events import Range
from db.connect import Connection, DatabaseConfig, open_pool, session
from db.history import History
from db.migrate import migrate
from db.outbox import NOTHING_HELD, SOURCES, WAITING, claim, claim_parameters, read_range, set_doorbell
from db.preflight import Part, inspect
from db.pruning import Batch, Rules, forget_viewed, prune
from rowcast.embedded.binaries import postgres_programs
from tests.db.plans import plan_of
from tests.db.rows import EVERYONE, in_order, insert, lock

pytestmark = pytest.mark.every_postgres

PAGE = Path(__file__).parents[2] / "docs" / "partitioning.md"
BEFORE, CONVERT, ROOM, NEXT, LET_GO = re.findall(r"```sql\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
P0, P1, P2 = 5, 10_000_000, 20_000_000
[NOTIFICATIONS] = SOURCES


def psql(address: str, script: str) -> str:
    """Run a recipe as its reader would; what psql printed."""
    done = subprocess.run(
        [postgres_programs(Path("/nonexistent"), None) / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", address],
        input=script,
        env={"PGPASSWORD": str(conninfo_to_dict(address).get("password", ""))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
async def connection(database: str) -> AsyncIterator[Connection]:
    """A superuser's session in a database that was in use, with two rows that were relayed and one that was not, and then converted."""
    async with session(database, name="bridge") as bridge:
        await insert(bridge, 1, EVERYONE)
        await claim(bridge, NOTIFICATIONS, NOTHING_HELD, batch=10)
        await insert(bridge, 1)
    psql(database, BEFORE)
    psql(database, CONVERT)
    async with await AsyncConnection.connect(database, autocommit=True) as superuser:
        yield superuser


async def insert_at(connection: Connection, id_: int, user: int | None = 1, into: str = "notifications") -> int:
    await connection.execute(
        f"INSERT INTO public.{into} (id, user_id, message) VALUES ({id_}, %s, 'hello')".encode(), (user,)
    )
    return id_


async def value(connection: Connection, statement: bytes) -> object:
    row = await (await connection.execute(statement)).fetchone()
    return row and row[0]


async def test_nothing_is_lost_and_ids_go_on(database: str, connection: Connection) -> None:
    [id_] = await insert(connection, 2)
    assert id_ == 4
    async with session(database, name="bridge") as bridge:
        got = await claim(bridge, NOTIFICATIONS, NOTHING_HELD, batch=10)
    assert got.stamped == Range(2, 4)
    assert await in_order(connection) == [1, 2, 3, 4]
    assert await value(connection, b"SELECT count(*) FROM public.notifications_default") == 0


async def test_a_bridge_that_is_at_work_goes_on(database: str) -> None:
    """Its statements are prepared by then."""
    async with (
        session(database, name="bridge") as bridge,
        await AsyncConnection.connect(database, autocommit=True) as writer,
    ):
        for _ in range(12):
            await insert(writer, 1)
            await claim(bridge, NOTIFICATIONS, NOTHING_HELD, batch=10)
        psql(database, BEFORE)
        psql(database, CONVERT)
        await insert(writer, 1)
        await insert_at(writer, P1)
        got = await claim(bridge, NOTIFICATIONS, NOTHING_HELD, batch=10)
        assert got.stamped == Range(12, 14)
        assert [event.seq async for event in read_range(bridge, NOTIFICATIONS, got.stamped)] == [13, 14]
        assert await in_order(writer) == [*range(1, 14), P1]


async def test_it_is_fit_and_migrating_again_changes_nothing(database: str, connection: Connection) -> None:
    async with session(database, name="bridge") as bridge:
        assert (await inspect(bridge, part="bridge")).buckets == 1
    assert migrate(database, roles=True, say=lambda _: None).applied == ()


@pytest.mark.parametrize("part", ["bridge", "web", "pruner"])
async def test_roles_keep_their_rights(database: str, connection: Connection, part: Part) -> None:
    async with session(database, name="bridge") as bridge:
        await bridge.execute(f"SET ROLE rowcast_{part}".encode())
        await inspect(bridge, part=part)


async def test_rows_at_the_same_place_in_two_partitions(database: str, connection: Connection) -> None:
    psql(database, NEXT)
    for id_, user in ((P2, EVERYONE), (P1, 1), (P1 + 1, 1)):
        await insert_at(connection, id_, user)
    places = await connection.execute("SELECT ctid::text FROM public.notifications WHERE id IN (%s, %s)", (P1, P2))
    assert len(set(await places.fetchall())) == 1
    async with session(database, name="bridge") as bridge:
        got = await claim(bridge, NOTIFICATIONS, NOTHING_HELD, batch=10)
        assert got.stamped is not None
        bodies = [event async for event in read_range(bridge, NOTIFICATIONS, got.stamped)]
    assert await in_order(connection) == [1, 2, 3, P1, P1 + 1, P2]
    assert [event.seq for event in bodies] == [3, 4, 5, 6]


async def test_a_locked_row_holds_back_only_itself_not_its_neighbour_in_another_partition(
    database: str, connection: Connection
) -> None:
    psql(database, NEXT)
    await insert_at(connection, P1, 7)
    await insert_at(connection, P2, 8)
    async with session(database, name="bridge") as bridge:
        await lock(connection, [P1])
        got = await claim(bridge, NOTIFICATIONS, NOTHING_HELD, batch=10)
        assert (got.rows, got.held_back.users) == (2, "{7}")
        await connection.execute("ROLLBACK")
        await claim(bridge, NOTIFICATIONS, NOTHING_HELD, batch=10)
    assert await in_order(connection) == [1, 2, 3, P2, P1]


@pytest.mark.parametrize("role", ["origin", "replica"])
async def test_a_row_straight_into_a_partition_rings(database: str, connection: Connection, role: str) -> None:
    """Also into one made later, and as logical replication's apply inserts."""
    psql(database, NEXT)
    async with session(database, name="bridge") as listener:
        await listener.execute("LISTEN rowcast")
        await set_doorbell(listener, WAITING)
        await connection.execute(f"SET session_replication_role = {role}".encode())
        for place, partition in ((P0, "notifications_p0"), (P1, "notifications_p1"), (P2, "notifications_p2")):
            await insert_at(connection, place, into=partition)
            assert [notice.channel async for notice in listener.notifies(timeout=5, stop_after=1)] == ["rowcast"]
        await claim(listener, NOTIFICATIONS, NOTHING_HELD, batch=10)
        await connection.execute("UPDATE public.notifications SET seq = NULL")
        assert await value(connection, b"SELECT count(*) FROM public.notifications WHERE seq IS NULL") == 0


async def test_the_plan_goes_by_place_still(database: str, connection: Connection) -> None:
    async with session(database, name="bridge") as bridge:
        for generic in (False, True):
            nodes = await plan_of(
                bridge,
                "claim",
                claim_parameters(batch=1000),
                generic=generic,
            )
            kinds = {node.kind for node in nodes if (node.table or "").startswith("notifications")}
            assert kinds == {"Index Scan", "Tid Scan", "ModifyTable"}, nodes


async def test_replay_reads_over_partitions(database: str, connection: Connection) -> None:
    await insert_at(connection, P1)
    async with session(database, name="bridge") as bridge, open_pool(DatabaseConfig(database), name="web") as pool:
        await claim(bridge, NOTIFICATIONS, NOTHING_HELD, batch=10)
        page = await History(pool).replay("1", after=0, upto=None)
    assert [event.seq for event in page.events] == [1, 2, 3, 4]


async def test_a_row_that_fits_no_partition_is_not_refused(database: str, connection: Connection) -> None:
    await insert_at(connection, 10**15)
    async with session(database, name="bridge") as bridge:
        assert (await claim(bridge, NOTIFICATIONS, NOTHING_HELD, batch=10)).rows == 2
    assert re.search(r" 3 \| notifications_default +\| DEFAULT +\| +1", psql(database, ROOM))


async def test_letting_go_is_not_silent(database: str, connection: Connection) -> None:
    with pytest.raises(AssertionError, match="has rows that were not relayed yet"):
        psql(database, LET_GO)
    await insert_at(connection, P1)
    async with session(database, name="bridge") as bridge, open_pool(DatabaseConfig(database), name="web") as pool:
        await claim(bridge, NOTIFICATIONS, NOTHING_HELD, batch=10)
        await connection.execute("INSERT INTO rowcast.viewed VALUES (1, 2)")
        psql(database, LET_GO)
        page = await History(pool).replay("1", after=0, upto=None)
        assert (page.pruned_seq, [event.seq for event in page.events]) == (3, [4])
        assert [count async for count in forget_viewed(bridge)] == [1]


async def test_a_partition_without_rows_goes_without_a_word(database: str, connection: Connection) -> None:
    async with session(database, name="bridge") as bridge:
        await claim(bridge, NOTIFICATIONS, NOTHING_HELD, batch=10)
    psql(database, LET_GO.replace("_p0", "_p1"))
    assert await value(connection, b"SELECT pruned_seq FROM rowcast.state") == 0


@pytest.mark.parametrize(
    "table", ["notifications", *(f"notifications_{name}" for name in ("p0", "p1", "p2", "default"))]
)
async def test_truncating_it_or_any_partition_is_not_silent(database: str, connection: Connection, table: str) -> None:
    psql(database, NEXT)
    await connection.execute(f"TRUNCATE {table}".encode())
    assert await value(connection, b"SELECT pruned_seq FROM rowcast.state") == 2


async def test_old_rows_can_be_pruned_from_it_row_by_row(database: str, connection: Connection) -> None:
    await insert_at(connection, P1)
    await insert_at(connection, P1 + 1)
    async with session(database, name="bridge") as bridge:
        await claim(bridge, NOTIFICATIONS, NOTHING_HELD, batch=10)
        await connection.execute("UPDATE notifications SET created_at = '2000-01-01' WHERE seq <= 4")
        assert [batch async for batch in prune(bridge, Rules(86400))] == [Batch(4, 4)]
    assert await in_order(connection) == [P1 + 1]
