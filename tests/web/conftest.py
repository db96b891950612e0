"""The web on a Postgres of the tests' own, a database for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from functools import cache

import httpx
import pytest
from psycopg.conninfo import make_conninfo

from core.user_ids import UserIdType
from tests.db.databases import Databases
from tests.web.site import CONFIGS, Marks, Site, serving


@pytest.fixture(scope="session")
def web_login(databases: Databases) -> Iterator[str]:
    """A role with the rights of the web and no others."""
    with databases.migrated(), databases.login("rowcast_web") as name:
        yield name


@pytest.fixture
def kind() -> UserIdType:
    """The type of user ids; a test may say another by parametrizing `kind`."""
    return UserIdType.BIGINT


@pytest.fixture(scope="session")
def quiet(databases: Databases, web_login: str) -> Iterator[Callable[[UserIdType], tuple[str, str]]]:
    """For each type of user ids one web for the whole run, made when first asked for: its URL and its database."""
    with ExitStack() as stack:

        @cache
        def of(kind: UserIdType) -> tuple[str, str]:
            database = stack.enter_context(databases.migrated(kind))
            as_web = make_conninfo(database, user=web_login, password="test")
            return stack.enter_context(serving(as_web, CONFIGS[kind], Marks())), database

        yield of


@pytest.fixture
async def quiet_site(quiet: Callable[[UserIdType], tuple[str, str]], kind: UserIdType) -> AsyncIterator[Site]:
    """A web on an empty database, for tests that leave nothing behind."""
    url, database = quiet(kind)
    async with httpx.AsyncClient(base_url=url) as http:
        yield Site(url, database, http)


@pytest.fixture
async def site(databases: Databases, web_login: str, kind: UserIdType) -> AsyncIterator[Site]:
    """The web on a migrated, empty database."""
    marks = Marks()
    with databases.migrated(kind) as database:
        as_web = make_conninfo(database, user=web_login, password="test")
        with serving(as_web, CONFIGS[kind], marks) as url:
            async with httpx.AsyncClient(base_url=url) as http:
                yield Site(url, database, http, marks)
