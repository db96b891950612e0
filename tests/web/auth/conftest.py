"""The web with auth jwt, on a database of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from psycopg.conninfo import make_conninfo

from core.clock import SystemClock
from core.user_ids import UserIdType
from tests.db.databases import Databases
from tests.web.auth.minting import SECRET
from tests.web.site import Marks, Site, serving
from web.auth.config import AuthConfig
from web.auth.tokens import make_verifier
from web.config import WebConfig

FRIEND = "https://app.example.org"  # on the allow-list


@pytest.fixture(scope="package")
def locked(databases: Databases, web_login: str) -> Iterator[tuple[str, str]]:
    """For all tests here: its URL and its database."""
    config = WebConfig(cors_origins=frozenset({FRIEND}))
    verifier = make_verifier(AuthConfig(key=SECRET), UserIdType.BIGINT, SystemClock())
    with databases.migrated() as database:
        as_web = make_conninfo(database, user=web_login, password="test")
        with serving(as_web, config, Marks(), verifier) as url:
            yield url, database


@pytest.fixture
async def locked_site(locked: tuple[str, str]) -> AsyncIterator[Site]:
    """The same; rows of other tests are there too."""
    url, database = locked
    async with httpx.AsyncClient(base_url=url, verify=False) as http:
        yield Site(url, database, http)
