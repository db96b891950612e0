"""A database of its own for each test of bridge/, and somebody who writes to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest

from db.connect import Connection, session
from tests.db.databases import Databases


@pytest.fixture
def database(databases: Databases) -> Iterator[str]:
    with databases.migrated() as url:
        yield url


@pytest.fixture
async def sql(database: str) -> AsyncIterator[Connection]:
    """Anybody's session, in autocommit."""
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as connection:
        yield connection


@pytest.fixture
async def claiming(database: str) -> AsyncIterator[Connection]:
    """A session as the leader's."""
    async with session(database, name="rowcast-claim") as connection:
        yield connection
