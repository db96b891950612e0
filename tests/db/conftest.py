"""The tests of db/ run on the newest and the oldest version of Postgres that is to be had, or on all, each with a database of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from psycopg import AsyncConnection

from db.connect import Connection, session
from rowcast.embedded import Server
from tests.db.databases import Databases
from tests.versions import postgres_of_version, pytest_generate_tests

__all__ = ["postgres_of_version", "pytest_generate_tests"]


@pytest.fixture(scope="session")
def databases(postgres_of_version: Server) -> Databases:
    return Databases(postgres_of_version.url)


@pytest.fixture
def empty(databases: Databases) -> Iterator[str]:
    """The address of a database with nothing in it."""
    with databases.empty() as address:
        yield address


@pytest.fixture
def database(databases: Databases) -> Iterator[str]:
    """The address of a migrated database whose user ids are bigint, with roles."""
    with databases.migrated() as address:
        yield address


@pytest.fixture
async def connection(database: str) -> AsyncIterator[Connection]:
    """A superuser's session in `database`, in autocommit."""
    async with await AsyncConnection.connect(database, autocommit=True) as session:
        yield session


@pytest.fixture
async def bridge(database: str) -> AsyncIterator[Connection]:
    async with session(database, name="bridge") as connection:
        yield connection


@pytest.fixture
async def other(database: str) -> AsyncIterator[Connection]:
    """Somebody else's session, in autocommit."""
    async with await AsyncConnection.connect(database, autocommit=True) as connection:
        yield connection
