"""Least rights, by trying everything else: what the catalog holds, times what can be done with it, as a login of each group."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from typing import LiteralString, cast

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg.errors import GeneratedAlways, InsufficientPrivilege

from tests.db.databases import Databases
from tests.db.rights import ANYBODY, MEANT, Right, allowed

GROUPS: list[LiteralString] = ["rowcast_writer", "rowcast_bridge", "rowcast_web", "rowcast_pruner"]
Session = psycopg.Connection[tuple[str, ...]]


@pytest.fixture(params=GROUPS)
def group(request: pytest.FixtureRequest) -> LiteralString:
    return cast("LiteralString", request.param)


@pytest.fixture
def member(databases: Databases, database: str, group: LiteralString) -> Iterator[Session]:
    """A session, in autocommit, of a login in that group."""
    with (
        databases.login(group) as name,
        psycopg.connect(make_conninfo(database, user=name, password="test"), autocommit=True) as session,
    ):
        yield session


def test_the_catalog_allows_just_what_is_meant(member: Session, group: str) -> None:
    """A new table, column, function or grant fails here until it is decided upon in rights.py."""
    assert allowed(cast("psycopg.Connection[tuple[str, str]]", member)) == MEANT[group] | ANYBODY


def relations(owner: Session, kinds: list[str]) -> list[str]:
    found = owner.execute(
        "SELECT format('%%I.%%I', s.nspname, c.relname) FROM pg_class AS c JOIN pg_namespace AS s ON s.oid = c.relnamespace "
        "WHERE s.nspname IN ('public', 'rowcast') AND c.relkind::text = ANY (%s)",
        (kinds,),
    )
    return [name for (name,) in found]


def columns(owner: Session, table: str) -> list[str]:
    found = owner.execute(
        "SELECT quote_ident(attname) FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped",
        (table,),
    )
    return [name for (name,) in found]


def on_table(table: str, names: list[str]) -> Iterator[tuple[set[Right], str]]:
    """Statements, and the rights of which any would be enough to pass."""

    def rights(privilege: str, column: str | None = None) -> set[Right]:
        return {(privilege, table)} | ({(privilege, f"{table}.{column}")} if column else set())

    for column in names:
        yield rights("SELECT", column), f"SELECT {column} FROM {table} LIMIT 0"
        yield rights("SELECT", column), f"COPY (SELECT {column} FROM {table}) TO STDOUT"
        yield rights("INSERT", column), f"INSERT INTO {table} ({column}) SELECT NULL WHERE false"
        yield rights("UPDATE", column), f"UPDATE {table} SET {column} = DEFAULT WHERE false"
        yield set(), f"ALTER TABLE {table} DROP COLUMN {column}"
    yield rights("DELETE"), f"DELETE FROM {table} WHERE false"
    # Postgres lets whoever may delete rows of a table lock it, too.
    yield rights("DELETE"), f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"
    for command in _OWNERS:
        yield set(), command.format(table)


_OWNERS = [
    "TRUNCATE {0}",
    "ALTER TABLE {0} DISABLE TRIGGER ALL",
    "ALTER TABLE {0} DISABLE ROW LEVEL SECURITY",
    "ALTER TABLE {0} ADD COLUMN x int",
    "ALTER TABLE {0} OWNER TO current_user",
    "CREATE POLICY mine ON {0} USING (true)",
    "CREATE INDEX ON {0} ((1))",
    "CREATE RULE r AS ON INSERT TO {0} DO INSTEAD NOTHING",
    "CREATE TRIGGER t AFTER INSERT ON {0} FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "DROP TABLE {0}",
    "COMMENT ON TABLE {0} IS 'mine'",
]


def on_sequence(name: str) -> Iterator[tuple[set[Right], str]]:
    yield {("UPDATE", name), ("USAGE", name)}, f"SELECT nextval('{name}')"
    yield {("UPDATE", name)}, f"SELECT setval('{name}', 1)"
    yield {("SELECT", name)}, f"SELECT last_value FROM {name}"
    yield set(), f"ALTER SEQUENCE {name} RESTART"
    yield set(), f"ALTER SEQUENCE {name} CACHE 10"
    yield set(), f"DROP SEQUENCE {name}"


ELSE: list[str] = [
    *(f"SET ROLE {group}" for group in (*GROUPS, "pg_read_all_data", "pg_signal_backend")),
    "CREATE SCHEMA mine",
    "CREATE TABLE public.mine (x int)",
    "CREATE TABLE rowcast.mine (x int)",
    "CREATE FUNCTION public.mine() RETURNS int LANGUAGE sql RETURN 1",
    "CREATE ROLE mine",
    "CREATE DATABASE mine",
    "DROP SCHEMA rowcast CASCADE",
    "ALTER FUNCTION rowcast.ring() SECURITY INVOKER",
    "DROP FUNCTION rowcast.ring()",
    "ALTER SCHEMA rowcast RENAME TO mine",
    "COPY (SELECT 1) TO PROGRAM 'true'",
    "COPY (SELECT 1) TO '/tmp/mine'",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT pg_ls_dir('.')",
    "SELECT lo_import('/etc/passwd')",
    "ALTER SYSTEM SET work_mem = '1GB'",
    "SET session_replication_role = replica",
    "SELECT pg_reload_conf()",
    "SELECT rolpassword FROM pg_authid",
    "SELECT usename FROM pg_shadow",
    "CREATE PUBLICATION mine FOR TABLE public.notifications",
    "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET rowcast.notify = off', current_database()); END $$",
    "CREATE EVENT TRIGGER mine ON ddl_command_start EXECUTE FUNCTION rowcast.ring()",
    "SELECT rowcast.ring()",
]


def test_every_statement_that_is_not_meant_is_refused(member: Session, group: str, database: str) -> None:
    """Really tried, not only asked of the catalog: a statement passes only if a right that it needs is meant to be there."""
    rights = MEANT[group]
    with psycopg.connect(database, autocommit=True) as owner:
        tried = [case for table in relations(owner, ["r", "p"]) for case in on_table(table, columns(owner, table))] + [
            case for name in relations(owner, ["S"]) for case in on_sequence(name)
        ]
        tried += [(set(), statement) for statement in ELSE if statement != f"SET ROLE {group}"]
        tried += [(set(), f"SELECT pg_{verb}_backend({owner.info.backend_pid})") for verb in ("terminate", "cancel")]
        if owner.execute("SELECT FROM pg_available_extensions WHERE name = 'pg_trgm'").rowcount:  # some builds lack it
            tried.append((set(), "CREATE EXTENSION pg_trgm"))
        wrong = []
        for needs, statement in tried:
            if needs & rights:
                continue
            refused = attempt(member, statement)
            if not isinstance(refused, InsufficientPrivilege | GeneratedAlways):
                wrong.append((statement, refused))
    assert len(tried) > 300
    assert not wrong, wrong


def attempt(member: Session, statement: str) -> psycopg.Error | None:
    """Run it, if it can be in a transaction that is rolled back; what was raised."""
    alone = statement.startswith(("CREATE DATABASE", "ALTER SYSTEM"))  # not in a transaction
    try:
        with nullcontext() if alone else member.transaction(force_rollback=True):
            member.execute(statement.encode())
    except psycopg.Error as error:
        return error
    return None
