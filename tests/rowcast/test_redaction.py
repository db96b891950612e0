"""What looks like a secret leaves the log as `***`, wherever it stands."""

from __future__ import annotations

import io
import json
import logging
import sys
import time
from collections.abc import Iterator
from urllib.parse import quote

import psycopg
import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from rowcast import logs
from rowcast.embedded import Server
from rowcast.redaction import HIDDEN, redacted

TEXTS = st.text(max_size=30)
# What no text around it has by chance.
SECRETS = st.text("abcdefXYZ0189-_", min_size=8, max_size=40).map(lambda text: f"s3cr3t{text}")
JWTS = st.lists(st.text("abcXYZ019-_", min_size=4, max_size=30), min_size=2, max_size=2).map(
    lambda parts: "eyJhbGciOiJIUzI1NiJ9." + ".".join(parts)
)
FORMS = st.sampled_from(
    [
        "postgresql://rowcast:{}@127.0.0.1:5432/rowcast?sslmode=require",
        "redis://:{}@host:6379/0",
        "redis+sentinel://u:{}@s1:26379,s2/mymaster",
        "host=h user=u password={} dbname=d",
        "password='{}'",
        "PGPASSWORD={}",
        "ROWCAST_JWT_KEY={}",
        "https://h/events/1?access_token={}&since=now",
        "Authorization: Bearer {}",
        "Authorization: Basic {}",
        "[(b'authorization', b'Bearer {}')]",
        "{{'Cookie': '__Host-rowcast={}; a=b'}}",
        "Set-Cookie: __Host-rowcast={}; Secure",
        '{{"password": "{}"}}',
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----",
        "duplicate key value violates unique constraint\nDETAIL:  Key (message)=({}) already exists.\nHINT:  x",
        "error\nCONTEXT:  JSON data, line 1: {}",
    ]
)


@settings(max_examples=50)
@given(TEXTS, FORMS, SECRETS, TEXTS)
def test_a_secret_in_any_text_is_hidden(before: str, form: str, secret: str, after: str) -> None:
    assert secret not in redacted(f"{before} {form.format(secret)} {after}")


@settings(max_examples=50)
@given(TEXTS, st.text(st.characters(exclude_categories=("C", "Z"), include_characters=" "), min_size=12))
def test_any_password_of_a_url_is_hidden(before: str, password: str) -> None:
    """However it is written: percent-encoded as it should be, or as somebody pasted it."""
    marked = f"s3cr3t{password}"
    encoded = quote(marked, safe="")
    assert encoded not in redacted(f"{before} postgresql://u:{encoded}@h/d")
    pasted = "".join(marked.split())
    assert pasted not in redacted(f"{before} postgresql://u:{pasted}@h/d")


@settings(max_examples=50)
@given(TEXTS, JWTS, TEXTS)
def test_a_token_is_hidden_whatever_stands_around_it(before: str, token: str, after: str) -> None:
    assert token not in redacted(f"{before} {token} {after}")
    assert token not in redacted(f"{before}'{token}'{after}")


@pytest.mark.parametrize(
    "text",
    [
        'connection to server at "127.0.0.1", port 5432 failed: FATAL:  password authentication failed for user "rowcast"',
        "Postgres failed while listing: no session of the pool answers.",
        "postgresql://rowcast@127.0.0.1:5432/rowcast",
        "It names the Postgres of Rowcast: postgresql://user:password@host:5432/database",
        "http://127.0.0.1:8000/events/1?since=now",
        "This token is expired. Bring a new one.",
        "rowcast:{b.0}:user:1",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redacted(text) == text


@pytest.mark.parametrize(
    "part", ["eyJ", "://", "://u:", "password=", "password='", "a@", "-----BEGIN KEY-----", "\nDETAIL:  "]
)
def test_no_text_takes_long(part: str) -> None:
    """A log line may quote what an attacker chose."""
    began = time.perf_counter()
    redacted(part * (50_000 // len(part)))
    assert time.perf_counter() - began < 2


@pytest.fixture(params=["json", "console"])
def lines(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What this process logs."""
    root, written = logging.getLogger(), io.StringIO()
    before, level, config = root.handlers[:], root.level, structlog.get_config()
    monkeypatch.setattr(sys, "stderr", written)
    logs.set_up("info", request.param)
    yield written
    root.handlers[:] = before
    root.setLevel(level)
    structlog.configure(**config)


def test_every_field_of_a_line_is_looked_at(lines: io.StringIO) -> None:
    log = structlog.get_logger("test")
    address = "redis://:s3cr3t-1@h/0"
    log.warning("a.b", reason=f"no answer of {address}", nodes={address: [address]}, error=OSError(address))
    log.warning("a.b", cookie="s3cr3t-2", token="s3cr3t-3", headers=[(b"cookie", b"a=s3cr3t-4")])
    try:
        psycopg.connect("no_such_parameter=1 password=s3cr3t-5", dbname=address)
    except psycopg.Error:
        log.exception("a.b")
        logging.getLogger("some.library").exception("failed at %s", address)
    assert "s3cr3t" not in lines.getvalue()
    assert lines.getvalue().count("a.b") >= 3
    assert HIDDEN in lines.getvalue()


def test_a_line_cannot_steer_the_terminal(lines: io.StringIO) -> None:
    structlog.get_logger("test").warning("a.b", reason="\x1b]52;c;aGk=\x07 \x9b31m \u202e \u2028 \r")
    assert not {"\x1b", "\x07", "\x9b", "\u202e", "\u2028", "\r"} & set(lines.getvalue())


def test_a_json_line_stays_json(lines: io.StringIO) -> None:
    structlog.get_logger("test").warning("a.b", reason='password="x" and more')
    if lines.getvalue().startswith("{"):
        assert json.loads(lines.getvalue())["event"] == "a.b"


def test_what_postgres_says_of_a_row_is_hidden(postgres: Server) -> None:
    """Its own words, so that a new form of them is noticed."""
    with psycopg.connect(postgres.url) as connection:
        connection.execute("CREATE TEMP TABLE t (message text UNIQUE CHECK (message <> 'a private text'))")
        for statement in (
            "INSERT INTO t VALUES ('a private text')",
            "INSERT INTO t SELECT 'another private text' FROM generate_series(1, 2)",
        ):
            with pytest.raises(psycopg.Error) as raised, connection.transaction():
                connection.execute(statement)
            assert "private text" in str(raised.value)
            assert "private text" not in redacted(str(raised.value))
