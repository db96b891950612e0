"""What every session of the bridge sets, whatever the database says; and which servers it takes for the primary."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from core.errors import DatabaseUnavailableError
from db.connect import session
from tests.db.databases import Databases

# What administrators set for a whole database: each alone would stop, slow or weaken the bridge.
HOSTILE = {
    "default_transaction_isolation": "serializable",
    "synchronous_commit": "off",
    "statement_timeout": "5s",
    "lock_timeout": "5s",
    "transaction_timeout": "5s",
    "idle_session_timeout": "1h",
    "idle_in_transaction_session_timeout": "1h",
    "tcp_user_timeout": "1h",
    "quote_all_identifiers": "on",
}
OURS = {
    "transaction_isolation": "read committed",
    "synchronous_commit": "on",
    "statement_timeout": "0",
    "lock_timeout": "0",
    "transaction_timeout": "0",
    "idle_session_timeout": "10s",
    "idle_in_transaction_session_timeout": "10s",
    "tcp_user_timeout": "10000",
    "quote_all_identifiers": "off",
}


async def test_the_databases_defaults_do_not_matter(database: str) -> None:
    """Rules 1.10 and 2.2: claims neither serialize with writers nor time out, and a session that freezes is ended by the server."""
    with psycopg.connect(database, autocommit=True) as owner:
        there = {name for (name,) in owner.execute("SELECT name FROM pg_settings")}
        for name, value in HOSTILE.items():
            if name in there:  # transaction_timeout came with Postgres 17
                set_it = sql.SQL("ALTER DATABASE {} SET {} = {}")
                owner.execute(set_it.format(*map(sql.Identifier, (owner.info.dbname, name)), sql.Literal(value)))
    async with session(database, name="test") as connection:
        rows = await connection.execute("SELECT name, current_setting(name) FROM pg_settings")
        found = {name: value for name, value in await rows.fetchall() if name in OURS}
    assert found == {name: value for name, value in OURS.items() if name in there}


async def test_who_cannot_be_written_to_is_not_the_primary(databases: Databases, database: str) -> None:
    """Rule 4.5: of several hosts the one that takes writes is meant, never a standby, which would lag."""
    with databases.login("rowcast_bridge") as name:
        with psycopg.connect(database, autocommit=True) as owner:
            owner.execute(sql.SQL("ALTER ROLE {} SET default_transaction_read_only = on").format(sql.Identifier(name)))
        with pytest.raises(DatabaseUnavailableError, match="read-only"):
            async with session(make_conninfo(database, user=name, password="test"), name="test"):
                pass
