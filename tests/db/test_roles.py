"""Each role can do its work, by the very statements that do it, and nothing else; only the bridge sets seq."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg.errors import GeneratedAlways, InsufficientPrivilege

from core.errors import DatabaseUnfitError
from core.events import Range
from db.connect import DatabaseConfig, open_pool, session
from db.history import History
from db.inbox import Inbox
from db.leadership import end_stuck_leader, stop_leading, try_lead
from db.migrate import migrate
from db.outbox import (
    NOTHING_HELD,
    SOURCES,
    WAITING,
    claim,
    oldest_running,
    own_xid,
    read_range,
    set_doorbell,
    start_term,
)
from db.preflight import inspect
from db.pruning import Batch, Rules, forget_viewed, prune
from db.queries import query
from db.revocations import RevocationList
from tests.db.databases import Databases

pytestmark = pytest.mark.every_postgres

ROOT = Path(__file__).parents[2]
ROLES: tuple[LiteralString, ...] = ("rowcast_writer", "rowcast_bridge", "rowcast_web", "rowcast_pruner")


@pytest.fixture
def writer(databases: Databases, database: str) -> Iterator[str]:
    with databases.login("rowcast_writer") as name:
        yield make_conninfo(database, user=name, password="test")


@pytest.fixture
def bridge(databases: Databases, database: str) -> Iterator[str]:
    with databases.login("rowcast_bridge") as name:
        yield make_conninfo(database, user=name, password="test")


@pytest.fixture
def web(databases: Databases, database: str) -> Iterator[str]:
    with databases.login("rowcast_web") as name:
        yield make_conninfo(database, user=name, password="test")


@pytest.fixture(scope="module")
def members(databases: Databases) -> Iterator[dict[str, str]]:
    """A login of each role, on one database for all that is refused: nothing comes of it there."""
    with databases.migrated() as database, ExitStack() as logins:
        yield {
            role: make_conninfo(database, user=logins.enter_context(databases.login(role)), password="test")
            for role in ROLES
        }


def refuses(address: str, statement: LiteralString) -> None:
    with (
        psycopg.connect(address, autocommit=True) as connection,
        pytest.raises((InsufficientPrivilege, GeneratedAlways)),
    ):
        connection.execute(statement)


def test_the_page_shows_the_very_sql() -> None:
    assert f"```sql\n{(ROOT / 'db/roles.sql').read_text('utf-8')}```" in (ROOT / "docs/postgres.md").read_text("utf-8")


def test_a_writer_inserts_in_every_way(writer: str) -> None:
    """But for COPY, which is in test_row_security.py."""
    with psycopg.connect(writer, autocommit=True) as connection:
        connection.execute("INSERT INTO public.notifications (user_id, message) VALUES (1, 'one'), (NULL, 'all')")
        connection.execute(
            "INSERT INTO notifications (user_id, key, message, channel_type, data, is_viewed, created_at) "
            "VALUES (1, 'k', 'm', 'c', '{}', true, now())"
        )
        merged = connection.execute(
            "MERGE INTO public.notifications USING (VALUES (1)) AS v (u) ON false WHEN NOT MATCHED THEN INSERT (user_id, message) VALUES (u, '')"
        )
        assert merged.rowcount == 1


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO public.notifications (message, seq) VALUES ('', 1)",
        "INSERT INTO public.notifications (message, is_sent) VALUES ('', true)",
        "INSERT INTO public.notifications (message, id) VALUES ('', 1)",
        "SELECT id FROM public.notifications",
        "UPDATE public.notifications SET message = ''",
        "UPDATE public.notifications SET seq = 1",
        "DELETE FROM public.notifications",
        "TRUNCATE public.notifications",
        "SELECT setval('public.notifications_id_seq', 1)",
        "SELECT nextval('rowcast.seq')",
        "SELECT * FROM rowcast.state",
        "SELECT setval('rowcast.doorbell', 1)",
        "SELECT rowcast.revoke('1', NULL, NULL)",
    ],
)
def test_a_writer_does_nothing_else(members: dict[str, str], statement: LiteralString) -> None:
    refuses(members["rowcast_writer"], statement)


async def test_the_bridge_does_its_work(bridge: str, writer: str) -> None:
    [source] = SOURCES
    async with session(bridge, name="bridge") as leader, session(bridge, name="bridge") as reader:
        await inspect(leader, part="bridge")
        assert await try_lead(leader)
        start = (await start_term(leader)).end
        await set_doorbell(leader, WAITING)
        await reader.execute(query("listen"))
        with psycopg.connect(writer, autocommit=True) as connection:
            connection.execute("INSERT INTO public.notifications (user_id, message) VALUES (1, 'one')")
        rung = [notice async for notice in reader.notifies(timeout=5, stop_after=1)]
        assert [notice.payload for notice in rung] == [""]
        got = await claim(leader, source, NOTHING_HELD, batch=10)
        assert got.stamped == Range(start, start + 1)
        assert [event.seq async for event in read_range(reader, source, got.stamped)] == [start + 1]
        assert await own_xid(leader) > 0
        assert await oldest_running(reader) > 0
        assert await end_stuck_leader(reader, patience=10, idle=4) == []
        await stop_leading(leader)


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO public.notifications (message) VALUES ('')",
        "UPDATE public.notifications SET message = ''",
        "DELETE FROM public.notifications",
        "UPDATE rowcast.state SET buckets = 2",
        "UPDATE rowcast.state SET pruned_seq = 2",
        "SELECT * FROM rowcast.viewed",
        "SELECT rowcast.revoke('1', NULL, NULL)",
    ],
)
def test_the_bridge_does_nothing_else(members: dict[str, str], statement: LiteralString) -> None:
    refuses(members["rowcast_bridge"], statement)


async def test_the_web_does_its_work(web: str, bridge: str) -> None:
    [source] = SOURCES
    async with session(bridge, name="bridge") as leader, open_pool(DatabaseConfig(web), name="web") as pool:
        inbox, history = Inbox(pool), History(pool)
        async with pool.connection() as connection:
            await inspect(connection, part="web")
        (own, _), (everyone, _) = await inbox.insert('[{"user_id":1,"message":"one","key":"k"},{"message":"all"}]')
        await claim(leader, source, NOTHING_HELD, batch=10)
        page = await history.replay("1", after=0, upto=None, unread=True)
        assert [event.seq for event in page.events] == [1, 2]
        assert len((await history.reread(["1"], after=0, upto=None)).events) == 2
        assert await history.oldest() == 1
        assert (await inbox.page("1", before=None, limit=10, unread=False)).unread == 2
        assert await inbox.get(own, viewer="1")
        assert await inbox.newest_with_key("k", viewer=None)
        for row in (own, everyone):
            assert await inbox.mark(row, viewed=True, viewer="1")
            assert await inbox.mark(row, viewed=False, viewer="1")
        assert await inbox.mark_up_to("1", 2) == 0
        assert await inbox.delete(own, viewer=None)
        await inbox.check()
        revocations = RevocationList(pool, pool)
        revoked = await revocations.add(user_id="1")
        assert await revocations.news() == [revoked]


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO public.notifications (message, seq) VALUES ('', 1)",
        "UPDATE public.notifications SET seq = 1",
        "UPDATE public.notifications SET message = ''",
        "UPDATE rowcast.state SET last_seq = 1",
        "SELECT nextval('rowcast.seq')",
        "SELECT setval('rowcast.doorbell', 1)",
        "TRUNCATE public.notifications",
        "INSERT INTO rowcast.revocations VALUES (1, NULL, 'jti', now(), NULL)",
        "UPDATE rowcast.revocations SET expires_at = now()",
        "DELETE FROM rowcast.revocations",
    ],
)
def test_the_web_does_nothing_else(members: dict[str, str], statement: LiteralString) -> None:
    refuses(make_conninfo(members["rowcast_web"], options="-c rowcast.users=*"), statement)


@pytest.fixture
def pruner(databases: Databases, database: str) -> Iterator[str]:
    with databases.login("rowcast_pruner") as name:
        yield make_conninfo(database, user=name, password="test")


async def test_the_pruner_does_its_work(pruner: str, bridge: str, database: str) -> None:
    [source] = SOURCES
    with psycopg.connect(database, autocommit=True) as owner:
        owner.execute("INSERT INTO notifications (message, created_at) VALUES ('old', '2000-01-01')")
        owner.execute("INSERT INTO rowcast.viewed VALUES (1, 1)")
    async with session(bridge, name="bridge") as leader, session(pruner, name="pruner") as connection:
        await claim(leader, source, NOTHING_HELD, batch=10)
        await inspect(connection, part="pruner")
        assert [batch async for batch in prune(connection, Rules(60, keep_unread=True))] == [Batch(1, 1)]
        assert [count async for count in forget_viewed(connection)] == [1]


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO public.notifications (message) VALUES ('')",
        "UPDATE public.notifications SET seq = 1",
        "UPDATE public.notifications SET message = ''",
        "TRUNCATE public.notifications",
        "UPDATE rowcast.state SET last_seq = 2",
        "INSERT INTO rowcast.viewed VALUES (1, 1)",
        "SELECT nextval('rowcast.seq')",
        "SELECT setval('rowcast.doorbell', 1)",
    ],
)
def test_the_pruner_does_nothing_else(members: dict[str, str], statement: LiteralString) -> None:
    refuses(members["rowcast_pruner"], statement)


def test_nobody_else_says_that_history_is_gone(writer: str, bridge: str, web: str) -> None:
    for address in (writer, bridge, web):
        refuses(address, "SELECT rowcast.forget(1)")
        refuses(address, "UPDATE rowcast.state SET pruned_seq = 1")


async def test_a_bridge_that_is_to_prune_is_told_what_it_lacks(bridge: str) -> None:
    async with session(bridge, name="bridge") as connection:
        await inspect(connection, part="bridge")
        with pytest.raises(
            DatabaseUnfitError, match=r"lacks DELETE on public.notifications, .*GRANT rowcast_pruner TO"
        ):
            await inspect(connection, part="bridge", prunes=True)


def test_roles_cannot_log_in(database: str) -> None:
    with psycopg.connect(database) as connection:
        found = connection.execute(
            "SELECT rolname, rolcanlogin FROM pg_roles WHERE rolname LIKE 'rowcast\\_%' ORDER BY 1"
        )
        assert found.fetchall() == [
            ("rowcast_bridge", False),
            ("rowcast_pruner", False),
            ("rowcast_web", False),
            ("rowcast_writer", False),
        ]


def test_granting_twice_is_fine(database: str) -> None:
    told: list[str] = []
    migrate(database, roles=True, say=told.append)
    assert told[0] == "Granted what they need to the roles rowcast_bridge, rowcast_pruner, rowcast_web, rowcast_writer."


def test_strangers_see_nothing(databases: Databases, database: str) -> None:
    with databases.login() as name:
        address = make_conninfo(database, user=name, password="test")
        refuses(address, "SELECT * FROM public.notifications")
        refuses(address, "INSERT INTO public.notifications (message) VALUES ('')")
        refuses(address, "SELECT * FROM rowcast.state")
