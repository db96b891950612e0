"""`rowcast migrate`: bring a database to the state this code knows, one migrator at a time, and say first what would go wrong.

The session that holds the advisory lock is the session that migrates: killed in any way, it loses both, and the next run goes on
from whole migrations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files as package_files
from importlib.resources.abc import Traversable
from typing import Any, TypeAlias

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.rows import class_row

from core.errors import ConfigurationError, DatabaseUnavailableError, DatabaseUnfitError
from core.user_ids import UserIdType
from db import survey as judge
from db.ahead import prepare
from db.connect import conninfo, driver_errors
from db.ledger import Ledger
from db.locks import LEADER, MIGRATE, NAMESPACE
from db.migrations import highest, migration_files
from db.poolers import require_own_session_now
from db.queries import query
from db.survey import Survey

Session: TypeAlias = psycopg.Connection[tuple[Any, ...]]
Say: TypeAlias = Callable[[str], None]

NAME = "rowcast migrate"
BUCKETS = range(1, 16385)
ROLES_SQL = package_files("db").joinpath("roles.sql")


@dataclass(frozen=True, slots=True)
class MigrationResult:
    """What a run did (`applied`: ids of migrations, empty if there was nothing to do) and where the database is now."""

    applied: tuple[str, ...]
    migration: int
    user_id_type: UserIdType
    buckets: int


def migrate(
    url: str,
    *,
    user_id_type: UserIdType | None = None,
    buckets: int | None = None,
    roles: bool = False,
    say: Say,
    files: Sequence[Traversable] | None = None,
) -> MigrationResult:
    """Apply what is missing, each file in one transaction; None leaves type and buckets as they are (a new database: bigint, 1).

    Waits while another one migrates, however long. Raises DatabaseUnfitError before anything was changed, ConfigurationError for
    arguments that can't be, DatabaseUnavailableError if Postgres is lost or a lock is not to be had in 3 s: then run it again.
    `files` stands in for the migrations of this release.
    """
    if buckets is not None and buckets not in BUCKETS:
        raise ConfigurationError(f"--buckets must be from {BUCKETS[0]} to {BUCKETS[-1]}, not {buckets}.")
    files = migration_files() if files is None else files
    with _session(url) as session, _alone(session, say):
        survey = _survey(session)
        done = _applied(session, survey)
        _preflight(survey, done, files, user_id_type=user_id_type, roles=roles)
        with _without_leader(session, buckets if done else None):
            with _as_owner(session, survey if done else None):
                new = _apply(session, done, files, user_id_type, say)
            _set_buckets(session, buckets, say)
        if roles:
            _grant(session, say)
        return _result(session, new, say)


def _preflight(
    survey: Survey, done: Sequence[str], files: Sequence[Traversable], *, user_id_type: UserIdType | None, roles: bool
) -> None:
    judge.require_encoding(survey)
    if done:
        judge.require_not_newer(highest(done), highest(file.name for file in files))
        judge.require_shape(survey)
        judge.require_user_id_type(survey, user_id_type)
        judge.require_ownership(survey)
    else:
        judge.require_free_names(survey)
        judge.require_right_to_build(survey)
    if roles:
        judge.require_right_to_roles(survey)


def _apply(
    session: Session, done: Sequence[str], files: Sequence[Traversable], user_id_type: UserIdType | None, say: Say
) -> tuple[str, ...]:
    """The ids of the migrations that were applied now."""
    if highest(done) == highest(file.name for file in files):
        return ()
    if not done:
        session.execute(query("create_schema"))
        session.execute(query("user_id_type"), {"user_id_type": user_id_type or UserIdType.BIGINT})
    ledger = Ledger(session)
    pending = ledger.pending(files)
    for migration in pending:
        try:
            prepare(session, migration.id, say)
            ledger.apply_one(migration)
        except psycopg.errors.LockNotAvailable as error:
            raise DatabaseUnavailableError(
                f"Migration {migration.id} waited 3 s for a lock that another session holds, and was rolled back: "
                "run `rowcast migrate` again once that session's transaction has ended."
            ) from error
        except psycopg.OperationalError:
            raise
        except psycopg.Error as error:
            raise DatabaseUnfitError(
                f"Migration {migration.id} failed and was rolled back: {_first_line(error)}"
            ) from error
        say(f"Applied {migration.id}.")
    return tuple(migration.id for migration in pending)


@contextmanager
def _as_owner(session: Session, survey: Survey | None) -> Iterator[None]:
    """Act as the role that has the table, if a superuser or another member of it migrates: what is made now must be its own like all else."""
    if survey is None or survey.owner in (None, survey.role):
        yield
        return
    session.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(survey.owner)))
    try:
        yield
    finally:
        if not session.closed and not session.broken:
            session.execute("RESET ROLE")


@contextmanager
def _without_leader(session: Session, buckets: int | None) -> Iterator[None]:
    """If the number of buckets is to change: hold the leader lock meanwhile, so that no bridge leads by the old number."""
    if buckets is None or buckets == _one(session, "state"):
        yield
        return
    if not _one(session, "try_lock", lock=LEADER):
        raise DatabaseUnfitError(
            "A bridge is running, and bridge and web must agree on the number of buckets: "
            f"stop them all, run `rowcast migrate --buckets {buckets}`, start them again."
        )
    try:
        yield
    finally:
        _one(session, "unlock", lock=LEADER)


def _set_buckets(session: Session, buckets: int | None, say: Say) -> None:
    if buckets is not None and buckets != _one(session, "state"):
        session.execute(query("set_buckets"), {"buckets": buckets})
        say(f"Set the number of buckets to {buckets}.")


def _grant(session: Session, say: Say) -> None:
    with session.transaction():
        session.execute(ROLES_SQL.read_bytes())
    say(f"Granted what they need to the roles {', '.join(judge.ROLES)}.")


def _result(session: Session, new: tuple[str, ...], say: Say) -> MigrationResult:
    survey = _survey(session)
    migration = highest(_applied(session, survey))
    if not new:
        say(f"Nothing to migrate: database {survey.database} is at migration {migration}.")
    return MigrationResult(new, migration, judge.require_shape(survey), _one(session, "state"))


@contextmanager
def _session(url: str) -> Iterator[Session]:
    """A session of Postgres's own on a primary that is new enough."""
    address = conninfo(url, name=NAME)
    with _connect(address) as session, driver_errors("migrating"):
        judge.require_version(session.info.server_version)
        survey = _survey(session)
        judge.require_primary(survey)
        if session.info.backend_pid != survey.pid:
            require_own_session_now(address)
        session.execute(query("migrate_session"))
        yield session


def _connect(address: str) -> Session:
    try:
        with driver_errors("connecting"):
            return psycopg.connect(address, autocommit=True, prepare_threshold=None)
    except DatabaseUnavailableError:
        _refuse_standby(make_conninfo(address, target_session_attrs="any"))
        raise


def _refuse_standby(address: str) -> None:
    """Raise DatabaseUnfitError if there is a server, but one that can't be written to."""
    try:
        with psycopg.connect(address, autocommit=True, prepare_threshold=None) as session:
            judge.require_version(session.info.server_version)
            judge.require_primary(_survey(session))
    except psycopg.Error:
        return


@contextmanager
def _alone(session: Session, say: Say) -> Iterator[None]:
    """Hold the migrators' lock. Asked for again and again, not waited for: a session that waits for a lock holds back vacuum."""
    told = False
    while not _one(session, "try_lock", lock=MIGRATE):
        if not told:
            say("Another migration is running; waiting for its end.")
            told = True
        session.execute(query("pause"))
    try:
        yield
    finally:
        if not session.closed and not session.broken:
            _one(session, "unlock", lock=MIGRATE)


def _survey(session: Session) -> Survey:
    with session.cursor(row_factory=class_row(Survey)) as cursor:
        [survey] = cursor.execute(query("survey")).fetchall()
    return survey


def _applied(session: Session, survey: Survey) -> list[str]:
    """The ids of the migrations that this database has had."""
    if not survey.has_ledger:
        return []
    judge.require_readable(survey)
    return [name for (name,) in session.execute(query("applied")).fetchall()]


def _one(session: Session, name: str, **parameters: int) -> Any:
    """The first value that the named statement returns; every one of ours about locks takes the namespace."""
    row = session.execute(query(name), {"namespace": NAMESPACE, **parameters} if parameters else None).fetchone()
    return row and row[0]


def _first_line(error: psycopg.Error) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
