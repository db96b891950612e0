"""What a server and a database are like, and whether that can carry Rowcast: pure judgements over what the catalogs say.

Each `require_*` raises DatabaseUnfitError with one sentence that says what is wrong and what to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.errors import DatabaseUnfitError
from core.user_ids import UserIdType

OLDEST_SERVER = 14
LEDGER = "_yoyo_migration"
ROLES = ("rowcast_bridge", "rowcast_pruner", "rowcast_web", "rowcast_writer")

# What notifications has, beside user_id; a user's own columns may stand beside these.
COLUMNS = {
    "id": "bigint",
    "key": "text",
    "message": "text",
    "channel_type": "text",
    "data": "jsonb",
    "is_viewed": "boolean",
    "created_at": "timestamp with time zone",
    "seq": "bigint",
    "is_sent": "boolean",
}


@dataclass(frozen=True, slots=True)
class Survey:
    """The one row of queries/survey.sql."""

    database: str
    role: str
    pid: int
    in_recovery: bool
    read_only: bool
    encoding: str
    may_create_schemas: bool
    may_create_tables: bool
    may_create_roles: bool
    roles: list[str]
    taken: list[str]
    own: list[str]
    may_read_ledger: bool
    kind: str | None
    owns: bool
    owner: str | None
    columns: dict[str, str]

    @property
    def has_ledger(self) -> bool:
        return LEDGER in self.own

    @property
    def user_id_type(self) -> UserIdType | None:
        """The type of notifications.user_id; None if there is no such column, or it is of no type of ours."""
        found = self.columns.get("user_id")
        return UserIdType(found) if found in set(UserIdType) else None


def require_version(server_version: int) -> None:
    """`server_version` as the wire says it (140005 is 14.5)."""
    major, minor = divmod(server_version, 10000)
    if major < OLDEST_SERVER:
        # Until version 9 the second number belonged to the name of the release: 90624 is 9.6.24.
        name = f"{major}.{minor}" if major >= 10 else f"{major}.{minor // 100}.{minor % 100}"  # noqa: PLR2004
        raise DatabaseUnfitError(
            f"This is Postgres {name}, and Rowcast needs {OLDEST_SERVER} or newer: upgrade it, or name another server."
        )


def require_primary(survey: Survey) -> None:
    if survey.in_recovery:
        raise DatabaseUnfitError(
            "This Postgres is a standby, which can't be written to: name the primary, or all hosts in one URL "
            "(postgresql://user@first,second/database), and Rowcast finds it."
        )
    if survey.read_only:
        raise DatabaseUnfitError(
            f"Sessions of {survey.role} in database {survey.database} are read-only: set default_transaction_read_only to off for it."
        )


def require_encoding(survey: Survey) -> None:
    if survey.encoding != "UTF8":
        raise DatabaseUnfitError(
            f"Database {survey.database} is encoded in {survey.encoding}, which can't hold every text: "
            "use one made with `createdb --encoding=UTF8 --template=template0 NAME`."
        )


def require_right_to_build(survey: Survey) -> None:
    """For the first migration, which creates schema rowcast and the tables."""
    if not survey.may_create_schemas:
        raise DatabaseUnfitError(
            f"Role {survey.role} may not create a schema here: as the database's owner, "
            f'run `GRANT CREATE ON DATABASE "{survey.database}" TO "{survey.role}"`.'
        )
    if not survey.may_create_tables:
        raise DatabaseUnfitError(
            f"Role {survey.role} may not create tables in schema public: as its owner, "
            f'run `GRANT CREATE ON SCHEMA public TO "{survey.role}"`.'
        )


def require_ownership(survey: Survey) -> None:
    """For all that changes or grants what an earlier migration built."""
    if not survey.owns:
        raise DatabaseUnfitError(
            f"Role {survey.role} does not own public.notifications: run `rowcast migrate` as {survey.owner}, who does."
        )


def require_right_to_roles(survey: Survey) -> None:
    if not survey.may_create_roles and set(survey.roles) != set(ROLES):
        raise DatabaseUnfitError(
            f'Role {survey.role} may not create roles: as a superuser, run `ALTER ROLE "{survey.role}" CREATEROLE`, '
            "or leave --roles out and have docs/postgres.md's SQL run by somebody who may."
        )


def require_free_names(survey: Survey) -> None:
    """Before the first migration: nothing of ours may be there yet under somebody else's hand."""
    if "notifications" in survey.taken:
        what = f"with other columns ({_listed(survey.columns)})" if survey.columns else "of another kind"
        raise DatabaseUnfitError(
            f"A table public.notifications is already in database {survey.database}, {what}: move it away "
            "(`CREATE SCHEMA old; ALTER TABLE public.notifications SET SCHEMA old`), or give Rowcast a database of its own."
        )
    if survey.taken:
        raise DatabaseUnfitError(
            f"Rowcast needs the name public.{survey.taken[0]}, which is taken in database {survey.database}: "
            "rename or move what has it, or give Rowcast a database of its own."
        )
    strangers = [name for name in survey.own if not name.startswith("_yoyo_")]
    if strangers:
        raise DatabaseUnfitError(
            f"Schema rowcast of database {survey.database} holds {_listed(strangers)}, but not from `rowcast migrate`: "
            "rename the schema, or give Rowcast a database of its own."
        )


def require_shape(survey: Survey) -> UserIdType:
    """After the first migration: our columns, of our types. Returns the type of user ids."""
    if survey.kind not in {"r", "p"}:
        raise DatabaseUnfitError(
            f"Database {survey.database} was migrated, but has no table public.notifications: restore it from a backup, "
            "or drop schema rowcast and run `rowcast migrate` again."
        )
    wrong = [
        f"{name} is {survey.columns.get(name, 'missing')}, not {wanted}"
        for name, wanted in COLUMNS.items()
        if survey.columns.get(name) != wanted
    ]
    if (born := survey.columns.get("born", "xid8")) != "xid8":  # of your own, if it came before migration 0006
        wrong.append(f"born is {born}, not xid8")
    user_id_type = survey.user_id_type
    if user_id_type is None:
        wrong.append(f"user_id is {survey.columns.get('user_id', 'missing')}, not bigint, uuid or text")
    if wrong or user_id_type is None:
        raise DatabaseUnfitError(
            f"public.notifications was changed: {'; '.join(wrong)}. Give it back the columns of docs/postgres.md."
        )
    return user_id_type


def require_user_id_type(survey: Survey, wanted: UserIdType | None) -> None:
    """The type asked for must be the one the table has; None asks for nothing."""
    if wanted is not None and survey.user_id_type != wanted:
        raise DatabaseUnfitError(
            f"User ids of database {survey.database} are {survey.user_id_type}, not {wanted}: the type is chosen at the first migrate. "
            f"Leave --user-id-type out, or give Rowcast a new database."
        )


def require_not_newer(applied: int, known: int) -> None:
    """Numbers of migrations: the highest this database has had, the highest this code knows."""
    if applied > known:
        raise DatabaseUnfitError(
            f"This database is at migration {applied}, and this Rowcast knows only up to {known}: install the newer Rowcast."
        )


def require_migrated(applied: int, known: int) -> None:
    require_not_newer(applied, known)
    if applied < known:
        state = (
            f"is at migration {applied}, and this Rowcast needs {known}" if applied else "has no tables of Rowcast yet"
        )
        raise DatabaseUnfitError(f"This database {state}: run `rowcast migrate`.")


def require_readable(survey: Survey) -> None:
    if not survey.may_read_ledger:
        raise DatabaseUnfitError(
            f"Role {survey.role} may not read schema rowcast: make it a member of rowcast_bridge or rowcast_web "
            f'(`rowcast migrate --roles`, then `GRANT rowcast_bridge TO "{survey.role}"`), or connect as {survey.owner}.'
        )


def require_no_flaws(flaws: Sequence[tuple[str, str, str]]) -> None:
    """`flaws`: rows of queries/flaws.sql."""
    for flaw, table, detail in flaws:
        if flaw == "cache":
            raise DatabaseUnfitError(
                f"Sequence {table} has CACHE {detail}, which would bring rows out of order: run `ALTER SEQUENCE {table} CACHE 1`."
            )
        raise DatabaseUnfitError(
            f"Table {table} has no trigger {detail} that always fires: run `ALTER TABLE {table} ENABLE ALWAYS TRIGGER {detail}`, "
            "or create it as docs/postgres.md shows."
        )


def require_rights(survey: Survey, part: str, missing: Sequence[str]) -> None:
    """`missing`: rows of queries/rights.sql for that part (bridge, web or pruner)."""
    if missing:
        raise DatabaseUnfitError(
            f"Role {survey.role} lacks {_listed(missing)}: run `rowcast migrate --roles`, "
            f'then `GRANT rowcast_{part} TO "{survey.role}"`.'
        )


def _listed(names: object) -> str:
    return ", ".join(str(name) for name in names) if isinstance(names, (list, tuple, dict)) else str(names)
