"""What a user's rows cost does not grow with the rows of others: as many pages of a million rows are looked at as of ten thousand."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from psycopg import AsyncConnection

from bench.filling import FOR_EVERYONE, fill
from bench.plans import PLANS
from bench.table import SMALL
from db.connect import Connection
from tests.db.databases import Databases
from tests.db.plans import plan_of

LARGE = 1_000_000
# An index of a hundredfold size is up to three levels deeper, and rows may be looked up one by one: a page of 50, one to see if there
# are more, and in the index of what was viewed all rows for everyone. (A sample of a large table may hold none of them, and a planner
# that expects one row hashes nothing.)
LEVELS, ROWS = 3, 50 + 1 + FOR_EVERYONE

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tables(databases: Databases) -> Iterator[dict[int, str]]:
    with databases.migrated() as small, databases.migrated() as large:
        fill(small, SMALL)
        fill(large, LARGE)
        yield {SMALL: small, LARGE: large}


@pytest.mark.parametrize("title", PLANS)
async def test_no_more_pages_than_of_a_small_table(tables: dict[int, str], title: str) -> None:
    name, parameters = PLANS[title]
    given = parameters | {"user_id": 17, "viewer": 17}
    pages = {}
    for size, address in tables.items():
        async with await AsyncConnection.connect(address, autocommit=True, prepare_threshold=None) as sql:
            if name == "claim":
                await _insert(sql)
            pages[size] = (await plan_of(sql, name, given, generic=False))[0].pages
    assert pages[LARGE] <= 1.5 * pages[SMALL] + ROWS * LEVELS, pages


async def _insert(sql: Connection) -> None:
    await sql.execute(
        "INSERT INTO public.notifications (user_id, message) SELECT i, 'new' FROM generate_series(1, 1000) AS i"
    )
