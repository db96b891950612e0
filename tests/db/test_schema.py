"""db/schema.sql is what the migrations add up to, for each type of user ids; and it is SQL that builds just that."""

from __future__ import annotations

import psycopg
import pytest

from core.user_ids import UserIdType
from db.migrate import migrate
from tests.db.databases import Databases
from tests.db.schema import HEADER, SCHEMA, dump, written

pytestmark = pytest.mark.every_postgres


@pytest.mark.parametrize("user_id_type", UserIdType)
def test_schema_is_what_the_migrations_build(databases: Databases, user_id_type: UserIdType) -> None:
    """If this fails after a new migration: `python -m tests.db.schema`, and look at the difference."""
    with databases.empty() as address:
        migrate(address, user_id_type=user_id_type, say=lambda _: None)
        assert dump(address) == written(user_id_type)


def test_schema_can_be_run(empty: str) -> None:
    with psycopg.connect(empty, autocommit=True) as connection:
        connection.execute(written(UserIdType.UUID).encode())
    assert dump(empty) == written(UserIdType.UUID)


def test_schema_begins_with_what_it_is() -> None:
    assert SCHEMA.read_text("utf-8").startswith(HEADER)
