"""A database of a benchmark's own on a server that others use: made, looked into, dropped."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from core.errors import ConfigurationError
from db.connect import conninfo, driver_errors
from db.queries import query

NAME = "rowcast bench"


@contextmanager
def scratch_database(url: str, name: str) -> Iterator[str]:
    """The libpq string of a new database `name` beside that of `url`; dropped at the end, with whoever is still in it.

    Raises ConfigurationError if this role may not make one, DatabaseUnavailableError if Postgres does not answer.
    """
    with _session(url) as session:
        try:
            session.execute(query("bench_create_database", database=name))
        except psycopg.errors.InsufficientPrivilege as error:
            raise ConfigurationError(
                "`rowcast bench` measures in a database of its own, and this role may not make one: ALTER ROLE … CREATEDB, "
                "or leave ROWCAST_DATABASE_URL out to measure on a Postgres that is started for it."
            ) from error
    try:
        yield make_conninfo(url, dbname=name)
    finally:
        with _session(url) as session:
            session.execute(query("bench_drop_database", database=name))


def left_behind(url: str, prefix: str) -> list[str]:
    """Databases of earlier benchmarks that were killed before they could drop them."""
    with _session(url) as session:
        return [str(name) for (name,) in session.execute(query("bench_databases"), {"prefix": prefix}).fetchall()]


@contextmanager
def looking(url: str) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """A session in autocommit, for statements that are no part of what is measured."""
    with _session(url) as session:
        yield session


@contextmanager
def _session(url: str) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    with driver_errors("benchmarking"), psycopg.connect(conninfo(url, name=NAME), autocommit=True) as session:
        yield session
