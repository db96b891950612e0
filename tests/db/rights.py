"""Everything that the catalog says a role may do in a database, with what each group is meant to be able to."""

from __future__ import annotations

from psycopg import Connection

Right = tuple[str, str]  # a privilege, and what on

_USERS_COLUMNS = ("user_id", "key", "message", "channel_type", "data")
_OLD_ROWS = ("is_viewed", "created_at")


def _columns(privilege: str, table: str, *columns: str) -> set[Right]:
    return {(privilege, f"{table}.{column}") for column in columns}


def _usage(*schemas: str) -> set[Right]:
    return {("USAGE", f"schema {schema}") for schema in schemas}


# A right on a whole table; `allowed` shows it for each column too.
MEANT: dict[str, set[Right]] = {
    "rowcast_writer": _usage("public")
    | {("USAGE", "public.notifications_id_seq")}
    | _columns("INSERT", "public.notifications", *_USERS_COLUMNS, *_OLD_ROWS),
    "rowcast_bridge": _usage("public", "rowcast")
    | {(right, f"rowcast.{name}") for right in ("SELECT", "UPDATE") for name in ("seq", "doorbell", "doorbell_until")}
    | {("SELECT", "public.notifications"), ("SELECT", "rowcast.state"), ("SELECT", "rowcast._yoyo_migration")}
    | {(right, "rowcast.terms") for right in ("SELECT", "INSERT", "DELETE")}
    | {(right, "rowcast.strays") for right in ("SELECT", "DELETE")}
    | _columns("UPDATE", "public.notifications", "seq")
    | _columns("UPDATE", "rowcast.state", "last_seq"),
    "rowcast_web": _usage("public", "rowcast")
    | {("USAGE", "public.notifications_id_seq")}
    | {(right, "public.notifications") for right in ("SELECT", "DELETE")}
    | _columns("INSERT", "public.notifications", *_USERS_COLUMNS)
    | _columns("UPDATE", "public.notifications", "is_viewed")
    | {(right, "rowcast.viewed") for right in ("SELECT", "INSERT", "DELETE")}
    | {("SELECT", f"rowcast.{table}") for table in ("state", "terms", "revocations", "_yoyo_migration")}
    | {("EXECUTE", "rowcast.revoke"), ("EXECUTE", "rowcast.newest_with_key")},
    "rowcast_pruner": _usage("public", "rowcast")
    | {(right, "public.notifications") for right in ("SELECT", "DELETE")}
    | _columns("UPDATE", "public.notifications", "is_viewed")
    | _columns("UPDATE", "rowcast.state", "pruned_seq")
    | {(right, "rowcast.viewed") for right in ("SELECT", "DELETE")}
    | {("SELECT", "rowcast.state"), ("SELECT", "rowcast._yoyo_migration"), ("EXECUTE", "rowcast.forget")},
}
# What every role of a new database may.
ANYBODY: set[Right] = {("CONNECT", "database"), ("TEMPORARY", "database"), ("USAGE", "schema public")}

_TABLES = """
    SELECT p, format('%I.%I', s.nspname, c.relname) FROM pg_class AS c JOIN pg_namespace AS s ON s.oid = c.relnamespace,
        unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) AS p
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND s.nspname IN ('public', 'rowcast') AND has_table_privilege(c.oid, p)
"""
_COLUMNS = """
    SELECT p, format('%I.%I.%I', s.nspname, c.relname, a.attname)
    FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid JOIN pg_namespace AS s ON s.oid = c.relnamespace,
        unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'REFERENCES']) AS p
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND s.nspname IN ('public', 'rowcast') AND a.attnum > 0 AND NOT a.attisdropped
        AND has_column_privilege(c.oid, a.attnum, p) AND NOT has_table_privilege(c.oid, p)
"""
_SEQUENCES = """
    SELECT p, format('%I.%I', s.nspname, c.relname) FROM pg_class AS c JOIN pg_namespace AS s ON s.oid = c.relnamespace,
        unnest(ARRAY['SELECT', 'USAGE', 'UPDATE']) AS p
    WHERE s.nspname IN ('public', 'rowcast') AND CASE c.relkind WHEN 'S' THEN has_sequence_privilege(c.oid, p) END
"""
_FUNCTIONS = """
    SELECT 'EXECUTE', format('%I.%I', s.nspname, f.proname) FROM pg_proc AS f JOIN pg_namespace AS s ON s.oid = f.pronamespace
    WHERE s.nspname IN ('public', 'rowcast') AND has_function_privilege(f.oid, 'EXECUTE')
"""
_SCHEMAS = """
    SELECT p, format('schema %I', s.nspname) FROM pg_namespace AS s, unnest(ARRAY['USAGE', 'CREATE']) AS p
    WHERE s.nspname IN ('public', 'rowcast') AND has_schema_privilege(s.oid, p)
"""
_DATABASE = """
    SELECT p, 'database' FROM unnest(ARRAY['CREATE', 'CONNECT', 'TEMPORARY']) AS p
    WHERE has_database_privilege(current_database(), p)
"""


def allowed(session: Connection[tuple[str, str]]) -> set[Right]:
    """All rights that the session's role has in this database, on whatever Rowcast and public hold."""
    found: set[Right] = set()
    for statement in (_TABLES, _COLUMNS, _SEQUENCES, _FUNCTIONS, _SCHEMAS, _DATABASE):
        found |= set(session.execute(statement).fetchall())
    return found
