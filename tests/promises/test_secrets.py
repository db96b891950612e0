"""No answer and no line of a log has a secret, whatever goes wrong: each part is made to fail with secrets in its settings and in what comes."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator

import httpx
import psycopg
import pytest
import structlog
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from quart import Quart

from core.clock import SystemClock
from rowcast import logs
from rowcast.embedded import Server
from tests import leaks
from tests.db.databases import Databases
from tests.rig import Process, Rig, free_port
from tests.web.auth.minting import token
from web.problems import register_problems
from web.refusals import Refusals

KEY = "s3cr3t-key-of-this-test-and-no-other"
PRIVATE = "a text that is for its user alone"
TOKEN = token({"sub": "1", "scope": "read view send admin", "exp": 4_102_444_800}, key=KEY)
BAD_TOKEN = token({"sub": "1", "exp": 1}, key=KEY)
ASKED: list[tuple[str, str, dict[str, str], str]] = [
    ("GET", "/healthz", {}, ""),
    ("GET", "/readyz", {}, ""),
    ("GET", "/notifications?user_id=1", {}, ""),
    ("GET", "/notifications?user_id=1", {"Authorization": f"Bearer {BAD_TOKEN}"}, ""),
    ("GET", "/notifications?user_id=1", {"Authorization": f"Bearer {TOKEN}x"}, ""),
    ("GET", "/notifications?user_id=1", {"Cookie": f"__Host-rowcast={BAD_TOKEN}"}, ""),
    ("GET", "/notifications?user_id=2", {"Authorization": f"Bearer {TOKEN}"}, ""),
    ("GET", "/notifications?user_id=x", {"Authorization": f"Bearer {TOKEN}"}, ""),
    ("GET", "/notifications/1", {"Authorization": f"Bearer {TOKEN}"}, ""),
    ("GET", "/nothing", {"Authorization": f"Bearer {TOKEN}"}, ""),
    ("PUT", "/notifications", {"Authorization": f"Bearer {TOKEN}"}, PRIVATE),
    ("POST", "/notifications", {"Authorization": f"Bearer {TOKEN}"}, PRIVATE),
    (
        "POST",
        "/notifications",
        {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"},
        f'{{"{PRIVATE}',
    ),
    (
        "POST",
        "/notifications",
        {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"},
        json.dumps({"user_id": 1, "message": PRIVATE}),
    ),
    ("POST", "/notifications", {"Content-Type": "application/json"}, "x" * 3_000_000),
    ("GET", "/events/2", {"Cookie": f"__Host-rowcast={TOKEN}"}, ""),
]


async def _ask_all(url: str) -> list[httpx.Response]:
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as http:
        return [
            await http.request(method, path, headers=headers, content=body) for method, path, headers, body in ASKED
        ]


def _told(answers: list[httpx.Response], secrets: set[str]) -> list[str]:
    said = [f"{answer.status_code} {answer.headers.multi_items()} {answer.text}" for answer in answers]
    return [one for one in said if any(secret in one for secret in secrets)]


@pytest.mark.slow
async def test_refusals_and_failures_tell_none(own: Rig) -> None:
    leaks.private(PRIVATE)
    await own.bridge()
    url, web = await own.web("--auth", "jwt", jwt_key=KEY)
    secrets = leaks.secrets_of(web.environment)
    assert len(secrets) >= 3, "the servers of tests have passwords"
    answers = await _ask_all(url)
    assert {answer.status_code for answer in answers} >= {200, 201, 400, 401, 403, 404, 405, 415}
    await _shut(own.database_url)
    try:
        failed = await _ask_all(url)
    finally:
        await _shut(own.database_url, allowed=True)
    assert 503 in {answer.status_code for answer in failed}
    await web.logged("web.database_unavailable")
    assert _told([*answers, *failed], secrets | {TOKEN, BAD_TOKEN, "database_url", "Traceback"}) == []
    assert list(leaks.found(web.log, secrets)) == []


@pytest.mark.slow
async def test_settings_that_are_wrong_tell_none(own: Rig) -> None:
    """At start each part says what is wrong with its servers, and nothing of how it would have got in."""
    wrong = "s3cr3t-and-wrong"
    database = make_conninfo(own.database_url, password=wrong)
    started: list[Process] = [
        await own.command("migrate", database_url=database),
        await own.command(
            "migrate", database_url=f"postgresql://u:{wrong}@127.0.0.1:{free_port()}/d?connect_timeout=2"
        ),
        await own.command("migrate", database_url=f"postgresql://u:{wrong}@127.0.0.1:no-port/d"),
        await own.command("bridge", redis_url=f"redis://:{wrong}@127.0.0.1:no-port/0"),
        await own.command("web", "--auth", "jwt", jwt_key="s3cr3t", database_url=database),
        await own.command("send", "1", "m", "--url", f"http://u:{wrong}@127.0.0.1:{free_port()}"),
    ]
    for process in started:
        assert await process.ended(timeout=30) != 0, process.log
        assert process.log
        assert "s3cr3t" not in process.log
    away = await own.bridge(redis_url=f"redis://:{wrong}@127.0.0.1:{free_port()}/0")
    await away.logged("redis.away_at_start")
    assert "s3cr3t" not in away.log


async def _shut(database_url: str, *, allowed: bool = False) -> None:
    name = str(conninfo_to_dict(database_url)["dbname"])
    elsewhere = make_conninfo(database_url, dbname="postgres")
    async with await psycopg.AsyncConnection.connect(elsewhere, autocommit=True) as session:
        statement = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
        await session.execute(statement.format(sql.Identifier(name), sql.Literal(allowed)))
        await session.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    root, written = logging.getLogger(), io.StringIO()
    before, level, config = root.handlers[:], root.level, structlog.get_config()
    monkeypatch.setattr(sys, "stderr", written)
    logs.set_up("info", "json")
    yield written
    root.handlers[:] = before
    root.setLevel(level)
    structlog.configure(**config)


async def test_a_bug_tells_none(lines: io.StringIO) -> None:
    """A 500, should there ever be one: whatever the exception quotes, and the one it was raised from."""
    # A variable, since tracebacks show the line.
    quoted = "postgresql://u:s3cr3t@h/d failed\nDETAIL:  Failing row contains (1, s3cr3t)."
    app = Quart(__name__)
    register_problems(app, Refusals(SystemClock()))

    @app.get("/bug")
    async def bug() -> str:
        raise RuntimeError(quoted) from ValueError(f"Authorization: Bearer {TOKEN}")

    answer = await app.test_client().get("/bug")
    said = await answer.get_data(as_text=True)
    assert answer.status_code == 500
    assert "web.failed" in lines.getvalue()
    for text in (said, lines.getvalue()):
        assert "s3cr3t" not in text
        assert TOKEN not in text
    assert "Traceback" not in said


def test_the_servers_of_tests_have_passwords_to_look_for(databases: Databases, valkey: Server) -> None:
    """Otherwise nothing would be found."""
    assert leaks.secrets_of({"ROWCAST_DATABASE_URL": databases.url})
    assert leaks.secrets_of({"ROWCAST_REDIS_URL": valkey.url})
