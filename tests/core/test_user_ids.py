"""A user id has one form in this process and in Postgres, or two processes name one user's channel in two ways (protocol.md 4.7)."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from core.errors import InvalidUserIdError
from core.user_ids import UserIdType
from rowcast.embedded import Server

REAL = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)

DIGITS = st.text("0123456789", min_size=1, max_size=21)
HEX = st.text("0123456789abcdefABCDEF", min_size=1, max_size=34)


def spelled(value: uuid.UUID, upper: bool, hyphens: set[int]) -> str:
    text = value.hex.upper() if upper else value.hex
    return "".join(("-" if at in hyphens else "") + digit for at, digit in enumerate(text))


UUIDS = st.builds(spelled, st.uuids(), st.booleans(), st.sets(st.sampled_from([8, 12, 16, 20])))


@pytest.fixture(scope="module")
def sql(postgres: Server) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(postgres.url, autocommit=True) as session:
        yield session


def printed(sql: psycopg.Connection[Any], kind: UserIdType, text: str) -> str | None:
    """The text as Postgres prints it after reading it as that type; None if it refuses."""
    statements = {
        UserIdType.BIGINT: "SELECT %s::text::bigint::text",
        UserIdType.UUID: "SELECT %s::text::uuid::text",
        UserIdType.TEXT: "SELECT %s::text",
    }
    try:
        row = sql.execute(statements[kind].encode(), (text,)).fetchone()
    except psycopg.DataError:
        return None
    assert row is not None
    return str(row[0])


def canonical(kind: UserIdType, text: str) -> str | None:
    try:
        return kind.canonical(text)
    except InvalidUserIdError:
        return None


@REAL
@given(st.builds("{}{}".format, st.sampled_from(["", "-"]), DIGITS))
@example("-0")
@example("0")
@example("007")
@example("9223372036854775807")
@example("9223372036854775808")
@example("-9223372036854775808")
@example("-9223372036854775809")
def test_a_bigint_is_refused_or_written_as_postgres_prints_it(sql: psycopg.Connection[Any], text: str) -> None:
    ours = canonical(UserIdType.BIGINT, text)
    if len(text.lstrip("-")) <= 19:
        assert ours == printed(sql, UserIdType.BIGINT, text)
    else:
        assert ours is None


@REAL
@given(UUIDS | HEX)
def test_a_uuid_is_refused_or_written_as_postgres_prints_it(sql: psycopg.Connection[Any], text: str) -> None:
    assert canonical(UserIdType.UUID, text) == printed(sql, UserIdType.UUID, text)


@REAL
@given(st.text())
def test_a_text_is_refused_or_kept_as_it_is(sql: psycopg.Connection[Any], text: str) -> None:
    expected = printed(sql, UserIdType.TEXT, text) if text else None
    assert canonical(UserIdType.TEXT, text) == expected


@pytest.mark.parametrize("kind", UserIdType)
@given(text=st.text())
def test_what_is_canonical_stays_so(kind: UserIdType, text: str) -> None:
    ours = canonical(kind, text)
    assert ours is None or canonical(kind, ours) == ours


@pytest.mark.parametrize("text", ["", " 1", "1 ", "+1", "1.0", "1e3", "0x10", "1_000", "٣", "--1", "-", "1\n"])
def test_what_is_no_bigint_is_refused(text: str) -> None:
    with pytest.raises(InvalidUserIdError, match="is not a whole number of 64 bits"):
        UserIdType.BIGINT.canonical(text)


@pytest.mark.parametrize(
    "text", ["", "x", "{12345678-1234-1234-1234-123456789012}", "1" * 33, "12345678-1234-1234-1234-12345678901g"]
)
def test_what_is_no_uuid_is_refused(text: str) -> None:
    with pytest.raises(InvalidUserIdError, match="is not a UUID"):
        UserIdType.UUID.canonical(text)


@pytest.mark.parametrize("text", ["", "\0", "a\0b", "\ud800"])
def test_what_postgres_text_cannot_hold_is_refused(text: str) -> None:
    with pytest.raises(InvalidUserIdError):
        UserIdType.TEXT.canonical(text)


@pytest.mark.parametrize(
    ("text", "fine"), [("x" * 1000, True), ("x" * 1001, False), ("é" * 500, True), ("é" * 501, False)]
)
def test_a_text_longer_than_the_table_takes_is_no_id(text: str, fine: bool) -> None:
    assert (canonical(UserIdType.TEXT, text) == text) is fine
