"""Bad input is a 4xx with a sentence, never a 500 and never a row."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import httpx
import psycopg
import pytest

from core.user_ids import UserIdType
from tests.web.site import Site

JSON = {"content-type": "application/json"}


def _row(**fields: object) -> str:
    return json.dumps({"user_id": 1, "message": "m"} | fields)


BODIES = {
    "nothing": "",
    "no JSON": "{",
    "a string": '"x"',
    "null": "null",
    "an empty array": "[]",
    "an array of no objects": "[1]",
    "1,001 rows": json.dumps([{"user_id": 1, "message": "m"}] * 1001),
    "no user": '{"message": "m"}',
    "no message": '{"user_id": 1}',
    "an unknown field": _row(is_sent=True),
    "message null": _row(message=None),
    "message a number": _row(message=1),
    "channel_type null": _row(channel_type=None),
    "user true": _row(user_id=True),
    "user 1.5": _row(user_id=1.5),
    "user 1e999": '{"user_id": 1e999, "message": "m"}',
    "user beyond 64 bits": _row(user_id=2**63),
    "user of 4,000 digits": _row(user_id=10**4000),
    "user of 5,000 digits": '{"user_id": ' + "1" * 5000 + ', "message": "m"}',
    "user no number": _row(user_id="x"),
    "user with a newline": _row(user_id="1\n"),
    "user an object": _row(user_id={}),
    "NaN": '{"user_id": 1, "message": "m", "data": NaN}',
    "-Infinity": '{"user_id": 1, "message": "m", "data": [-Infinity]}',
    "numbers too long to be written out": '{"user_id": 1, "message": "m", "data": ['
    + ",".join(["1e131071"] * 9)
    + "]}",
    "the same below one": '{"user_id": 1, "message": "m", "data": [' + ",".join(["1.5E-16383"] * 65) + "]}",
    "a number that no numeric holds": '{"user_id": 1, "message": "m", "data": 1e999999999}',
    "NUL in message": _row(message="a\x00b"),
    "NUL in key": _row(key="\x00"),
    "NUL in channel_type": _row(channel_type="\x00"),
    "NUL in data": _row(data=[{"a": "\x00"}]),
    "NUL in a name in data": _row(data=[{"\x00": 1}]),
    "half a surrogate pair in message": _row(message="\ud800"),
    "half a surrogate pair in data": _row(data={"a": ["\udc00"]}),
    "a control character": '{"user_id": 1, "message": "a\nb"}',
    "a name twice": '{"user_id": 1, "user_id": 2, "message": "m"}',
    "a name twice in data": '{"user_id": 1, "message": "m", "data": {"a": 1, "a": 2}}',
    "201 levels": '{"user_id": 1, "message": "m", "data": ' + "[" * 200 + "]" * 200 + "}",
    "100,000 levels": "[" * 100_000 + "]" * 100_000,
    "100,000 objects": '{"a":' * 100_000 + "1" + "}" * 100_000,
    "a byte order mark": "\ufeff" + _row(),
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
async def test_a_bad_row_is_refused_with_a_sentence(quiet_site: Site, body: str) -> None:
    answer = await quiet_site.http.post("/notifications", content=body, headers=JSON)
    _is_problem(answer, 400)
    assert await _rows(quiet_site) == 0


@pytest.mark.parametrize(
    ("kind", "user_id"),
    [
        (UserIdType.UUID, 1),
        (UserIdType.UUID, "x"),
        (UserIdType.TEXT, 1),
        (UserIdType.TEXT, ""),
        (UserIdType.TEXT, "x" * 1001),
    ],
)
async def test_a_user_id_of_another_type_is_refused(quiet_site: Site, user_id: object) -> None:
    _is_problem(await quiet_site.http.post("/notifications", json={"user_id": user_id, "message": "m"}), 400)
    _is_problem(await quiet_site.http.get("/notifications?user_id="), 400)


async def test_bytes_that_are_no_utf_8_are_refused(quiet_site: Site) -> None:
    _is_problem(await quiet_site.http.post("/notifications", content=b'{"message": "\xff"}', headers=JSON), 400)


@pytest.mark.parametrize(
    "content_type", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "x"]
)
@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/notifications"), ("PATCH", "/notifications/1"), ("POST", "/users/1/viewed")]
)
async def test_a_body_that_does_not_say_json_is_a_415(
    quiet_site: Site, method: str, path: str, content_type: str | None
) -> None:
    headers = {} if content_type is None else {"content-type": content_type}
    _is_problem(await quiet_site.http.request(method, path, content=_row(), headers=headers), 415)


MARKS = ["", "[]", "{}", '{"is_viewed": 1}', '{"is_viewed": true, "x": 1}', '{"is_viewed": true, "user_id": "x"}']
POSITIONS = ["", "[]", "{}", '{"up_to": "1"}', '{"up_to": 1.5}', '{"up_to": true}', '{"up_to": 9223372036854775808}']


@pytest.mark.parametrize("body", MARKS)
async def test_a_bad_mark_is_refused(quiet_site: Site, body: str) -> None:
    _is_problem(await quiet_site.http.patch("/notifications/1", content=body, headers=JSON), 400)


@pytest.mark.parametrize("body", POSITIONS)
async def test_a_bad_position_is_refused(quiet_site: Site, body: str) -> None:
    _is_problem(await quiet_site.http.post("/users/1/viewed", content=body, headers=JSON), 400)


REFUSED = [
    "/notifications",
    "/notifications?user_id=",
    "/notifications?user_id=x",
    "/notifications?user_id=9223372036854775808",
    "/notifications?user_id=%00",
    "/notifications?user_id=1%ff",
    "/notifications?user_id=1&limit=0",
    "/notifications?user_id=1&limit=1001",
    "/notifications?user_id=1&limit=",
    "/notifications?user_id=1&limit=%C2%B2",
    "/notifications?user_id=1&before=9223372036854775808",
    "/notifications?user_id=1&before=1.0",
    "/notifications?user_id=1&unread=yes",
    "/notifications/x",
    "/notifications/9223372036854775808",
    "/notifications/" + "9" * 5000,
    "/notifications/%00",
    "/notifications/1%ED%A0%80",
    "/notifications/1?user_id=x",
    "/read/%00",
    "/read/%ff",
    "/write/a/b/x",
    "/write/a/b/",
    "/write/a//1",
    "/write/%00/b/1",
    "/write/a/%FF/1",
]
MISSING = [
    "/x",
    "/read",
    "/read/",
    "/write/a/b",
    "/write/a/b/c/1",
    "/notifications/1",
    "/notifications/-9223372036854775808",
    "/static/",
    "/static/../app.py",
    "/static/%2e%2e/app.py",
    "/static/%00",
    "/users/1/x",
]


@pytest.mark.parametrize("path", REFUSED)
async def test_a_bad_url_is_refused(quiet_site: Site, path: str) -> None:
    _is_problem(await quiet_site.http.get(path), 400)
    assert await _rows(quiet_site) == 0


@pytest.mark.parametrize("path", MISSING)
async def test_what_is_not_there_is_a_404(quiet_site: Site, path: str) -> None:
    _is_problem(await quiet_site.http.get(path), 404)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/notifications", {"GET", "HEAD", "POST", "OPTIONS"}),
        ("POST", "/notifications/1", {"GET", "HEAD", "PATCH", "DELETE", "OPTIONS"}),
        ("GET", "/users/1/viewed", {"POST", "OPTIONS"}),
        ("POST", "/write/a/b/1", {"GET", "HEAD", "OPTIONS"}),
        ("TRACE", "/", {"GET", "HEAD", "OPTIONS"}),
        ("BREW", "/healthz", {"GET", "HEAD", "OPTIONS"}),
    ],
)
async def test_a_method_that_a_route_has_not_is_a_405(
    quiet_site: Site, method: str, path: str, allowed: set[str]
) -> None:
    answer = await quiet_site.http.request(method, path)
    _is_problem(answer, 405)
    assert set(answer.headers["allow"].split(", ")) == allowed


async def test_a_long_body_is_a_413(site: Site) -> None:
    """Whether its length is announced or it comes in chunks; and with the sentence, though nobody reads the rest."""
    body = _row(message="x" * 10_000_000).encode()

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 1 << 16):
            yield body[start : start + (1 << 16)]

    _is_problem(await site.http.post("/notifications", content=body, headers=JSON), 413)
    _is_problem(await site.http.post("/notifications", content=chunks(), headers=JSON), 413)
    assert (
        await site.http.post("/notifications", content=_row(message="x" * 2_000_000), headers=JSON)
    ).status_code == 201


async def test_a_refusal_is_read_though_the_body_is_long(quiet_site: Site) -> None:
    body = _row(message="x" * 10_000_000)
    _is_problem(await quiet_site.http.post("/notifications", content=body), 415)
    _is_problem(await quiet_site.http.post("/nothing", content=body), 404)
    _is_problem(await quiet_site.http.put("/notifications", content=body), 405)


async def test_a_request_that_never_ends_is_no_request(quiet_site: Site) -> None:
    """A client that goes away in the middle of its body leaves nothing behind."""
    host, _, port = quiet_site.url.removeprefix("http://").partition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        b'POST /notifications HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 999\r\n\r\n{"us'
    )
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert (await quiet_site.http.get("/healthz")).status_code == 200
    assert await _rows(quiet_site) == 0


def _is_problem(answer: httpx.Response, status: int) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    problem = answer.json()
    assert problem["status"] == status
    assert problem["type"] == "about:blank"
    assert problem["title"]
    assert problem["detail"].endswith(".")
    assert len(problem["detail"]) < 400
    assert "Traceback" not in problem["detail"]


async def _rows(site: Site) -> int:
    async with await psycopg.AsyncConnection.connect(site.database) as connection:
        row = await (await connection.execute("SELECT count(*) FROM notifications")).fetchone()
    return int(row[0]) if row else -1
