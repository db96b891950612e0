"""With 100,000 rows in the table no statement on the way of a row walks through them, planned for these values or for any.

Before the first ANALYZE too: the bridge's statements keep their plan, a user's history is at least not looked for in the whole table.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest
from psycopg import AsyncConnection

from db.connect import Connection, session
from db.outbox import claim_parameters
from db.queries import query
from db.readers import one_user, several
from tests.db.databases import Databases
from tests.db.plans import Node, on, plan_of, plan_text, reading
from tests.db.rows import insert

ROWS = 100_000
USERS = 1000
# One row for everyone in a hundred.
FILL = """
INSERT INTO public.notifications (user_id, message, seq)
SELECT CASE WHEN i % 100 = 0 THEN NULL ELSE 1 + i % 1000 END, 'message ' || i, CASE WHEN i <= {stamped} THEN i END
FROM generate_series(1, 100000) AS i;
UPDATE rowcast.state SET last_seq = {stamped};
SELECT setval('rowcast.seq', greatest({stamped}, 1));
"""
PAGE = {"upto": None, "page": 500, "budget": 1_000_000}
FULL_BATCH = claim_parameters(batch=1000)

STATISTICS = [pytest.param("analyzed"), pytest.param("not analyzed", marks=pytest.mark.slow)]

pytestmark = [pytest.mark.parametrize("generic", [False, True], ids=["custom", "generic"]), pytest.mark.every_postgres]


@pytest.fixture(scope="module", params=STATISTICS)
def history(databases: Databases, request: pytest.FixtureRequest) -> Iterator[str]:
    """A database whose rows were all relayed, but for the last five."""
    yield from _filled(databases, stamped=ROWS - 5, analyzed=request.param == "analyzed")


@pytest.fixture(scope="module")
def hot(databases: Databases) -> Iterator[str]:
    """A database of three busy users, in which user 7 has ten rows, the first, and a row is for everyone."""
    yield from _relayed(
        databases,
        "INSERT INTO public.notifications (user_id, message, seq) SELECT CASE WHEN i <= 10 THEN 7 WHEN i > 11 THEN i % 3 END, 'hot', i "
        "FROM generate_series(1, 100000) AS i",
        last=100_000,
    )


@pytest.fixture(scope="module")
def long(databases: Databases) -> Iterator[str]:
    """A database in which user 5000 has 10,000 rows, all viewed, and a thousand others have a hundred each."""
    yield from _relayed(
        databases,
        "INSERT INTO public.notifications (user_id, message, is_viewed, seq) "
        "SELECT CASE WHEN i % 11 = 0 THEN 5000 ELSE i % 1000 END, 'message ' || i, i % 11 = 0, i FROM generate_series(1, 110000) AS i",
        last=110_000,
    )


@pytest.fixture(scope="module", params=STATISTICS)
def burst(databases: Databases, request: pytest.FixtureRequest) -> Iterator[str]:
    """A database of which nothing was relayed yet."""
    yield from _filled(databases, stamped=0, analyzed=request.param == "analyzed")


def _relayed(databases: Databases, insert_all: str, *, last: int) -> Iterator[str]:
    with databases.migrated() as address:
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute(insert_all.encode())
            connection.execute(f"UPDATE rowcast.state SET last_seq = {last}".encode())
            connection.execute("VACUUM ANALYZE")
        yield address


def _filled(databases: Databases, *, stamped: int, analyzed: bool) -> Iterator[str]:
    with databases.migrated() as address:
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute("ALTER TABLE public.notifications SET (autovacuum_enabled = off)")
            connection.execute(FILL.format(stamped=stamped).encode())
            if analyzed:
                connection.execute("VACUUM ANALYZE")
        yield address


@pytest.fixture
async def bridge(history: str) -> AsyncIterator[Connection]:
    async with session(history, name="bridge") as connection:
        yield connection


@pytest.fixture
async def bridge_in_burst(burst: str) -> AsyncIterator[Connection]:
    async with session(burst, name="bridge") as connection:
        yield connection


def reads(nodes: list[Node]) -> list[tuple[str, str | None]]:
    return sorted({(node.kind, node.index) for node in on(nodes, "notifications") if node.ran}, key=str)


@pytest.fixture(scope="module")
def snapshot(databases: Databases) -> Iterator[str]:
    """A database of which all was relayed but five rows, under a snapshot that is still held (pg_dump): nothing of it can be vacuumed."""
    with (
        databases.migrated() as address,
        psycopg.connect(address, autocommit=True) as connection,
        psycopg.connect(address) as dump,
    ):
        dump.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.execute(FILL.format(stamped=0).encode())
        dump.execute("SELECT FROM public.notifications LIMIT 1")
        connection.execute("UPDATE public.notifications SET seq = id; UPDATE rowcast.state SET last_seq = 100000")
        connection.execute("SELECT setval('rowcast.seq', 100000)")
        connection.execute("VACUUM ANALYZE")
        yield address


def looked_at(nodes: list[Node]) -> int:
    """How many rows of notifications were looked at."""
    return sum(node.rows for node in on(nodes, "notifications"))


CLAIM = [("Index Scan", "notifications_unsequenced"), ("ModifyTable", None), ("Tid Scan", None)]


async def test_claim_of_a_few_among_many_that_were_relayed(bridge: Connection, generic: bool) -> None:
    nodes = await plan_of(bridge, "claim", FULL_BATCH, generic=generic)
    assert reads(nodes) == CLAIM
    assert nodes[0].pages < 500


async def test_claim_of_a_batch_among_many_that_wait(bridge_in_burst: Connection, generic: bool) -> None:
    nodes = await plan_of(bridge_in_burst, "claim", FULL_BATCH, generic=generic)
    assert reads(nodes) == CLAIM


async def test_claim_with_users_left_out(bridge: Connection, generic: bool) -> None:
    """They are looked up by their hash: searched one after the other for each row, fifty thousand take seconds."""
    held = FULL_BATCH | {"held": "{" + ",".join(map(str, range(500))) + "}", "lowest": 5}
    assert reads(await plan_of(bridge, "claim", held, generic=generic)) == CLAIM
    lines = await plan_text(bridge, "claim", held, generic=generic)
    left_out = [line for line in lines if "Filter" in line and "user_id IS NULL) OR (" in line]
    assert left_out
    assert all("hashed SubPlan" in line for line in left_out)


async def test_claim_of_a_few_under_an_old_snapshot(snapshot: str, generic: bool) -> None:
    """No entry of the rows that were stamped under it is met."""
    async with (
        session(snapshot, name="bridge") as bridge,
        await AsyncConnection.connect(snapshot, autocommit=True) as writer,
    ):
        [(since,)] = await (await writer.execute("SELECT pg_current_snapshot()::text")).fetchall()
        await insert(writer, *range(5))
        few = FULL_BATCH | {"since": since, "everywhere": False}
        nodes = await plan_of(bridge, "claim", few, generic=generic)
        await writer.execute("DELETE FROM public.notifications WHERE seq IS NULL")
    assert reads(nodes) == [("Index Scan", "notifications_born"), ("ModifyTable", None), ("Tid Scan", None)]
    assert nodes[0].pages < 500
    assert looked_at([node for node in nodes if node.kind == "Index Scan"]) == 5


@pytest.mark.parametrize("statement", ["newcomers", "claim"])
async def test_passing_a_backlog(bridge_in_burst: Connection, generic: bool, statement: str) -> None:
    """Of a hundred thousand rows only the newest 500 are looked at, by an index on id, and what the snapshot does not show."""
    [(last, since)] = await (
        await bridge_in_burst.execute("SELECT max(id), pg_current_snapshot()::text FROM public.notifications")
    ).fetchall()
    past = {"since": since, "everywhere": False, "passing": True, "upto": last - 500, "newcomers": '{"7"}'}
    limits = {"rows": 10_000, "users": 500}
    nodes = await plan_of(bridge_in_burst, statement, FULL_BATCH | past | limits, generic=generic)
    scans = [node for node in nodes if node.kind == "Index Scan"]
    assert {node.index for node in scans if node.ran} - {"notifications_unsequenced"} <= {
        "notifications_born",
        "notifications_pkey",
    }
    assert looked_at(scans) == 500


async def test_looking_at_a_backlog(bridge_in_burst: Connection, generic: bool) -> None:
    """Each row once, and no more of them than can be known."""
    limits = {"rows": 10_000, "users": 5000, "tail": 500}
    nodes = await plan_of(bridge_in_burst, "backlog", limits, generic=generic)
    assert {index for _, index in reads(nodes)} == {"notifications_unsequenced"}
    assert looked_at(nodes) <= 10_001 + 501


async def test_bodies_of_a_range(bridge: Connection, generic: bool) -> None:
    nodes = await plan_of(
        bridge, "read_range", {"after": ROWS - 1000, "upto": ROWS, "page": 1000, "budget": 1 << 20}, generic=generic
    )
    assert reads(nodes) == [("Index Scan", "notifications_seq")]


@pytest.mark.parametrize("unread", [False, True])
@pytest.mark.parametrize("after", [0, ROWS - 2000])
async def test_one_users_history(history: str, generic: bool, unread: bool, after: int) -> None:
    """At most the user's hundred rows and the thousand for everyone are looked at."""
    asked = PAGE | {"user_id": 7, "after": after, "unread": unread, "bare": False}
    async with reading(history, one_user("7")) as web:
        nodes = await plan_of(web, "replay", asked, generic=generic)
    assert "Seq Scan" not in {node.kind for node in on(nodes, "notifications")}
    assert looked_at(nodes) <= 1100


@pytest.mark.parametrize(("user", "rows"), [(7, 15), (1, 510)])
@pytest.mark.parametrize("after", [0, 60_000])
async def test_history_where_few_hear_most(hot: str, generic: bool, user: int, rows: int, after: int) -> None:
    """Whoever hears little is not searched for among those who hear much, and whose history is long gets it page by page."""
    async with reading(hot, one_user(str(user))) as web:
        nodes = await plan_of(
            web, "replay", PAGE | {"user_id": user, "after": after, "unread": False, "bare": False}, generic=generic
        )
    assert looked_at(nodes) <= rows


@pytest.mark.parametrize("unread", [False, True])
@pytest.mark.parametrize(("user", "rows"), [(7, 12), (1, 103)])
async def test_where_a_backlog_is_cut(hot: str, generic: bool, user: int, rows: int, unread: bool) -> None:
    """No more is looked at than is kept, however long the history is."""
    asked = {"user_id": user, "after": 0, "upto": ROWS, "unread": unread, "keep": 100}
    async with reading(hot, one_user(str(user))) as web:
        nodes = await plan_of(web, "below_newest", asked, generic=generic)
    assert looked_at(nodes) <= rows


def many(users: list[int], **more: object) -> dict[str, object]:
    """Parameters of replay_many.sql, as db.history gives them for so many streams."""
    count = len(users)
    arrays = {"uptos": [None] * count, "unreads": [False] * count}
    return (
        PAGE
        | {"user_ids": users, "total": 4 << 20, "page": 4096 // count, "afters": [ROWS - 2000] * count}
        | arrays
        | more
    )


@pytest.mark.parametrize("unread", [False, True])
@pytest.mark.parametrize("after", [0, ROWS - 2000])
async def test_the_histories_of_many_users(history: str, generic: bool, unread: bool, after: int) -> None:
    """A hundred users, forty rows for each: so many of the user's and so many for everyone are looked at for each, at most."""
    users = list(range(1, 101))
    asked = many(users, afters=[after] * 100, unreads=[unread] * 100)
    async with reading(history, several(map(str, users))) as web:
        await web.execute(query("ordered_session"))
        nodes = await plan_of(web, "replay_many", asked, generic=generic)
    assert "Seq Scan" not in {
        node.kind for node in on(nodes, "notifications") if node.ran
    }  # Postgres 16 plans one for WHERE false
    assert looked_at(nodes) <= 100 * 2 * 41


@pytest.mark.parametrize("after", [0, 60_000])
async def test_the_histories_of_many_where_few_hear_most(hot: str, generic: bool, after: int) -> None:
    """A long history is not collected and sorted for the sake of its first rows, whoever else is in the batch."""
    users = [7, 1, *range(10, 106)]
    async with reading(hot, several(map(str, users))) as web:
        await web.execute(query("ordered_session"))
        nodes = await plan_of(web, "replay_many", many(users, afters=[after] * 98), generic=generic)
    assert "Seq Scan" not in {
        node.kind for node in on(nodes, "notifications") if node.ran
    }  # Postgres 16 plans one for WHERE false
    assert looked_at(nodes) <= 11 + 42 + 2 * 98  # Postgres 15 rounds the rows of each loop


@pytest.mark.parametrize("behind", [10, 20_000])
async def test_what_many_streams_missed(history: str, generic: bool, behind: int) -> None:
    """Half of the users: a page is found among twice as many rows, by walking along seq."""
    reader = several(map(str, range(500)))
    async with reading(history, reader) as web:
        nodes = await plan_of(web, "reread", PAGE | {"user_ids": reader.users, "after": ROWS - behind}, generic=generic)
    assert "Seq Scan" not in {node.kind for node in on(nodes, "notifications")}
    assert looked_at(nodes) <= behind + 1100


@pytest.mark.parametrize("upto", [2**63 - 1, 50_000], ids=["newest", "deep"])
async def test_a_list_sorts_no_long_history(long: str, generic: bool, upto: int) -> None:
    """However long the user's is, a page of it is read off the index of what is listed."""
    given = {"user_id": 5000, "viewer": 5000, "upto": upto, "page": 50, "budget": 1 << 20}
    async with reading(long, one_user("5000")) as sql:
        nodes = await plan_of(sql, "list", given, generic=generic)
    assert looked_at(nodes) < 200
    assert not [node for node in nodes if node.kind == "Incremental Sort"]
