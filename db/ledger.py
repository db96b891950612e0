"""Which migrations a database has had, kept by yoyo-migrations in schema rowcast, and applied so that a crash leaves no half.

Over yoyo's own way of doing it: the connection is ours, so that every form of libpq address works; a file goes to Postgres whole, unsplit;
what it does and its entry in the ledger are one transaction; the lock is ours (db/locks.py), since a lock row outlives kill -9.
"""

from __future__ import annotations

import platform
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.resources.abc import Traversable
from typing import Any

import psycopg
from yoyo.backends.core.postgresql import PostgresqlPsycopgBackend
from yoyo.connections import parse_uri
from yoyo.migrations import Migration, MigrationList

from db.survey import LEDGER


class SqlFile(Migration):
    """One numbered file; its name without the ending is its id."""

    def __init__(self, file: Traversable) -> None:
        super().__init__(file.name.removesuffix(".sql"), str(file), source_dir=None)
        self.text = file.read_bytes()
        self.steps: list[object] = []
        self._depends: set[Migration] = set()


class Ledger(PostgresqlPsycopgBackend):
    """yoyo's tables in schema rowcast, over an open autocommit connection that stays the caller's. Hold the advisory lock."""

    schema = "rowcast"

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._given = connection
        super().__init__(parse_uri("postgresql+psycopg:///"), LEDGER)

    def connect(self, _: object) -> psycopg.Connection[Any]:
        return self._given

    @contextmanager
    def lock(self) -> Iterator[None]:
        yield

    def pending(self, files: Iterable[Traversable]) -> list[SqlFile]:
        """Those that were not applied yet, in order. Creates yoyo's tables where they are missing."""
        return list(self.to_apply(MigrationList(SqlFile(file) for file in files)))

    def apply_one(self, migration: SqlFile) -> None:
        """The migration and its entry in the ledger, in one transaction."""
        with self.transaction():
            self.connection.execute(migration.text)
            self.log_migration(migration, "apply")
            self.mark_one(migration, log=False)

    def get_log_data(self, migration: SqlFile | None = None, operation: str = "apply") -> dict[str, object]:
        """Who did what, without asking the system for names: in a container a uid may have none, and no DNS may answer."""
        return {
            "id": str(uuid.uuid4()),
            "migration_id": migration and migration.id,
            "migration_hash": migration and migration.hash,
            "username": self.connection.info.user,
            "hostname": platform.node(),
            "created_at_utc": datetime.now(UTC).replace(tzinfo=None),
            "operation": operation,
        }
