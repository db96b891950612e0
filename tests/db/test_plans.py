"""With 100,000 rows in the table no statement on the way of a row walks through them, planned for these values or for any.

Before the first ANALYZE too: the bridge's statements keep their plan, a user's history is at least not looked for in the whole table.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest
from psycopg import AsyncConnection

from db.connect import Connection, session
from tests.db.databases import Databases
from tests.db.plans import Node, on, plan_of

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
FULL_BATCH = {"batch": 1000, "held": "{}", "lowest": None, "log_end": None}

STATISTICS = [pytest.param("analyzed"), pytest.param("not analyzed", marks=pytest.mark.slow)]

pytestmark = pytest.mark.parametrize("generic", [False, True], ids=["custom", "generic"])


@pytest.fixture(scope="module", params=STATISTICS)
def history(databases: Databases, request: pytest.FixtureRequest) -> Iterator[str]:
    """A database whose rows were all relayed, but for the last five."""
    yield from _filled(databases, stamped=ROWS - 5, analyzed=request.param == "analyzed")


@pytest.fixture(scope="module")
def hot(databases: Databases) -> Iterator[str]:
    """A database of three busy users, in which user 7 has ten rows, the first, and a row is for everyone."""
    with databases.migrated() as address:
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute(
                "INSERT INTO public.notifications (user_id, message, seq) SELECT CASE WHEN i <= 10 THEN 7 WHEN i > 11 THEN i % 3 END, 'hot', i "
                "FROM generate_series(1, 100000) AS i"
            )
            connection.execute("UPDATE rowcast.state SET last_seq = 100000")
            connection.execute("VACUUM ANALYZE")
        yield address


@pytest.fixture(scope="module", params=STATISTICS)
def burst(databases: Databases, request: pytest.FixtureRequest) -> Iterator[str]:
    """A database of which nothing was relayed yet."""
    yield from _filled(databases, stamped=0, analyzed=request.param == "analyzed")


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


@pytest.fixture
async def web(history: str) -> AsyncIterator[Connection]:
    async with await AsyncConnection.connect(history, autocommit=True) as connection:
        yield connection


def reads(nodes: list[Node]) -> list[tuple[str, str | None]]:
    return sorted({(node.kind, node.index) for node in on(nodes, "notifications")}, key=str)


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
    held = {"batch": 1000, "held": "{" + ",".join(map(str, range(500))) + "}", "lowest": 5, "log_end": None}
    assert reads(await plan_of(bridge, "claim", held, generic=generic)) == CLAIM


async def test_bodies_of_a_range(bridge: Connection, generic: bool) -> None:
    nodes = await plan_of(
        bridge, "read_range", {"after": ROWS - 1000, "upto": ROWS, "page": 1000, "budget": 1 << 20}, generic=generic
    )
    assert reads(nodes) == [("Index Scan", "notifications_seq")]


@pytest.mark.parametrize("unread", [False, True])
@pytest.mark.parametrize("after", [0, ROWS - 2000])
async def test_one_users_history(web: Connection, generic: bool, unread: bool, after: int) -> None:
    """At most the user's hundred rows and the thousand for everyone are looked at."""
    nodes = await plan_of(
        web, "replay", PAGE | {"user_id": 7, "after": after, "unread": unread, "bare": False}, generic=generic
    )
    assert "Seq Scan" not in {node.kind for node in on(nodes, "notifications")}
    assert looked_at(nodes) <= 1100


@pytest.mark.parametrize(("user", "rows"), [(7, 15), (1, 510)])
@pytest.mark.parametrize("after", [0, 60_000])
async def test_history_where_few_hear_most(hot: str, generic: bool, user: int, rows: int, after: int) -> None:
    """Whoever hears little is not searched for among those who hear much, and whose history is long gets it page by page."""
    async with await AsyncConnection.connect(hot, autocommit=True) as web:
        nodes = await plan_of(
            web, "replay", PAGE | {"user_id": user, "after": after, "unread": False, "bare": False}, generic=generic
        )
    assert looked_at(nodes) <= rows


@pytest.mark.parametrize("behind", [10, 20_000])
async def test_what_many_streams_missed(web: Connection, generic: bool, behind: int) -> None:
    """Half of the users: a page is found among twice as many rows, by walking along seq."""
    users = "{" + ",".join(map(str, range(500))) + "}"
    nodes = await plan_of(web, "reread", PAGE | {"user_ids": users, "after": ROWS - behind}, generic=generic)
    assert "Seq Scan" not in {node.kind for node in on(nodes, "notifications")}
    assert looked_at(nodes) <= behind + 1100
