"""The gate over the real app: tokens and cookies, pages of other origins, sessions. What each route needs: test_every_route."""

from __future__ import annotations

from typing import Any

import pytest

from tests.waiting import until
from tests.web.auth.conftest import FRIEND
from tests.web.auth.minting import bearer, token
from tests.web.site import Site

NOBODY_KNOWS = "/notifications/9000000000000000000"
STRANGER = "https://evil.example"


def cookie(user: object = 1, scope: str = "read view send") -> dict[str, str]:
    """The header of a browser that has a session."""
    return {"Cookie": f"theme=dark; __Host-rowcast={token({'sub': str(user), 'scope': scope})}; a=b"}


@pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json", "/static/inbox.js", "/healthz", "/readyz"])
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer x"}, {"Authorization": "nonsense"}])
async def test_what_is_open_needs_no_token(locked_site: Site, path: str, headers: dict[str, str]) -> None:
    async def answers() -> bool:
        status = (await locked_site.http.get(path, headers=headers)).status_code
        assert status in {200, 503}
        return status == 200

    await until(answers)  # /readyz may say for a moment that a busy machine has not read what was revoked


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/events/x"),
        ("GET", "/nowhere"),
        ("GET", "/static"),
        ("GET", "/%ff"),
        ("GET", "/notifications?user_id=x&limit=x"),
        ("GET", "/write/a/b"),
        ("PUT", "/notifications"),
        ("OPTIONS", "/notifications"),
        ("PATCH", "/notifications/x"),
        ("GET", "/notifications?access_token=" + token({"sub": "1"})),
    ],
)
async def test_nothing_is_looked_at_before_the_token(locked_site: Site, method: str, path: str) -> None:
    answer = await locked_site.http.request(method, path, content=b"{", headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")


async def test_with_a_token_the_rest_is_looked_at(locked_site: Site) -> None:
    answers = [
        await locked_site.http.get("/nowhere", headers=bearer()),
        await locked_site.http.get("/events/x", headers=bearer()),
        await locked_site.http.put("/notifications", headers=bearer()),
    ]
    assert [answer.status_code for answer in answers] == [404, 400, 405]


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER  "])
async def test_a_token_comes_by_header(locked_site: Site, scheme: str) -> None:
    said = bearer(7)["Authorization"].removeprefix("Bearer ")
    answer = await locked_site.http.get("/session", headers={"Authorization": f"{scheme} {said}"})
    assert answer.json() == {"user_id": 7, "scope": "read view", "expires_at": None}
    assert answer.headers["Cache-Control"] == "no-store"


async def test_the_header_wins_over_the_cookie(locked_site: Site) -> None:
    answer = await locked_site.http.get("/session", headers=bearer(7) | cookie(8))
    assert answer.json()["user_id"] == 7
    answer = await locked_site.http.get("/session", headers={"Authorization": "Bearer x.y.z"} | cookie(8))
    assert answer.status_code == 401


@pytest.mark.parametrize(
    ("headers", "status", "error"),
    [
        ([("Authorization", "Bearer x.y.z")], 401, "invalid_token"),
        ([("Authorization", f"Bearer {token({'sub': '1', 'exp': 1})}")], 401, "invalid_token"),
        ([("Cookie", "__Host-rowcast=x.y.z")], 401, "invalid_token"),
        ([("Authorization", "Basic dTpw")], 401, None),
        ([("Authorization", "Bearer")], 400, "invalid_request"),
        ([("Authorization", "Bearer a b")], 400, "invalid_request"),
        ([("Authorization", "Bearer a,b")], 400, "invalid_request"),
        ([*bearer().items(), *bearer(2).items()], 400, "invalid_request"),
        ([("Cookie", "__Host-rowcast=a; __Host-rowcast=b")], 400, "invalid_request"),
        ([("Cookie", "rowcast=a; __host-rowcast=b")], 401, None),
    ],
)
async def test_a_refusal_says_why(
    locked_site: Site, headers: list[tuple[str, str]], status: int, error: str | None
) -> None:
    """RFC 6750 section 3."""
    answer = await locked_site.http.get("/session", headers=headers)
    assert answer.status_code == status
    challenge = answer.headers["WWW-Authenticate"]
    assert challenge.startswith(f'Bearer error="{error}"') if error else challenge == "Bearer"
    if error == "invalid_token":
        assert challenge.endswith(f'error_description="{answer.json()["detail"]}"')


async def test_a_service_reads_nothing_and_writes_for_all(locked_site: Site) -> None:
    service = bearer(None, "read view send admin")
    for path in ("/notifications", "/notifications?user_id=1", "/notifications/1", "/read/k", "/events/1"):
        answer = await locked_site.http.get(path, headers=service)
        assert (answer.status_code, "names no user" in answer.json()["detail"]) == (403, True)
    written = await locked_site.http.post("/notifications", json={"user_id": 5, "message": "m"}, headers=service)
    assert written.status_code == 201


async def test_rows_for_everyone_are_everybodys_and_only_an_admins_to_delete(locked_site: Site) -> None:
    http = locked_site.http
    row = (await http.post("/notifications", json={"user_id": None, "message": "m"}, headers=bearer(1, "send"))).json()
    path = f"/notifications/{row['id']}"
    marked = await http.patch(path, json={"is_viewed": True}, headers=bearer(61))
    assert (marked.status_code, marked.json()["is_viewed"]) == (200, True)
    assert (await http.get(path, headers=bearer(61))).json()["is_viewed"] is True
    assert (await http.get(path, headers=bearer(62))).json()["is_viewed"] is False
    for body in ({"is_viewed": True, "user_id": 62}, {"is_viewed": False, "user_id": 63}):
        assert (await http.patch(path, json=body, headers=bearer(61))).status_code == 403
    assert (await http.patch(path, json={"is_viewed": True, "user_id": "061"}, headers=bearer(61))).is_success
    assert (await http.delete(path, headers=bearer(61))).status_code == 403
    assert (await http.delete(path, headers=bearer(61, "read send"))).status_code == 403
    assert (await http.delete(path, headers=bearer(None, "admin"))).status_code == 204
    assert (await http.delete(path, headers=bearer(61))).status_code == 404


async def test_own_rows_are_listed_by_the_token_and_deleted(locked_site: Site) -> None:
    http = locked_site.http
    row = (await http.post("/notifications", json={"user_id": 71, "message": "m"}, headers=bearer(1, "send"))).json()
    await locked_site.relay()
    for query in ("", "?user_id=71", "?user_id=071"):
        page = (await http.get(f"/notifications{query}", headers=bearer(71))).json()
        assert row["id"] in [item["id"] for item in page["items"]]
    assert (await http.get(f"/notifications/{row['id']}?user_id=72", headers=bearer(71))).status_code == 403
    assert (await http.delete(f"/notifications/{row['id']}", headers=bearer(71))).status_code == 204


async def test_a_key_names_the_newest_row_that_its_reader_may_see(locked_site: Site) -> None:
    http = locked_site.http
    rows = [{"user_id": user, "message": "m", "key": "shared"} for user in (81, None, 82)]
    own, all_, _ = (await http.post("/notifications", json=rows, headers=bearer(1, "send"))).json()
    assert (await http.get("/read/shared", headers=bearer(81))).json()["id"] == all_["id"]
    await http.delete(f"/notifications/{all_['id']}", headers=bearer(1, "admin"))
    assert (await http.get("/read/shared", headers=bearer(81))).json()["id"] == own["id"]
    assert (await http.get("/read/shared", headers=bearer(83))).status_code == 404
    assert (await http.get(f"/read/{own['id']}", headers=bearer(81))).json()["id"] == own["id"]
    assert (await http.get(f"/read/{own['id']}", headers=bearer(83))).status_code == 404


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("slashes", ["/", "//", "////"])
async def test_a_cookie_writes_nothing_by_get(locked_site: Site, method: str, slashes: str) -> None:
    answer = await locked_site.http.request(method, f"{locked_site.url}{slashes}write/k/v/1", headers=cookie())
    assert answer.status_code == 401
    assert (await locked_site.http.get("/write/k/v/1", headers=cookie() | bearer(1, "send"))).status_code == 200


# Origin, Sec-Fetch-Site, whether a cookie counts there; None: the header is absent, "own": that of the server
PAGES = [
    (None, None, True),  # no browser
    (None, "none", True),  # typed into the address bar
    (None, "same-origin", True),
    ("own", "same-origin", True),
    ("own", None, True),  # a browser without Sec-Fetch-Site
    ("https://own", None, True),  # … behind a proxy that ends TLS
    ("https://elsewhere.example", "same-origin", True),  # … that changes Host
    (FRIEND, "cross-site", True),
    (FRIEND, None, True),
    (None, "cross-site", False),  # an image, a link, a form
    (None, "same-site", False),
    (None, "same-origin, cross-site", False),
    (STRANGER, "cross-site", False),
    (STRANGER, "same-site", False),
    (STRANGER, None, False),
    ("null", "cross-site", False),
    ("null", "same-origin", False),
    ("null", None, False),
    (f"{FRIEND}.evil.example", None, False),
    (f"{FRIEND}:8443", None, False),
    (FRIEND.replace("https", "http"), None, False),
    ("own.evil.example", None, False),
]


def _page(url: str, origin: str | None, site: str | None) -> dict[str, str]:
    own = url.removeprefix("http://")
    headers = {} if site is None else {"Sec-Fetch-Site": site}
    return (
        headers
        if origin is None
        else headers | {"Origin": origin.replace("https://own", f"https://{own}").replace("own", url)}
    )


@pytest.mark.parametrize(("origin", "site", "counts"), PAGES)
async def test_a_cookie_counts_only_for_our_pages(
    locked_site: Site, origin: str | None, site: str | None, counts: bool
) -> None:
    page = _page(locked_site.url, origin, site)
    ways: list[dict[str, Any]] = [
        {"method": "GET", "url": NOBODY_KNOWS},
        {"method": "GET", "url": "/events/1"},
        {"method": "PATCH", "url": NOBODY_KNOWS, "json": {"is_viewed": True}},
        {"method": "POST", "url": "/users/1/viewed", "json": {"up_to": 0}},
    ]
    for way in ways:
        answer = await locked_site.http.request(**way, headers=page | cookie())
        assert (answer.status_code == 403) is not counts, way
        assert (await locked_site.http.request(**way, headers=page | bearer())).status_code != 403


async def test_a_session_begins_with_a_token_and_ends_without(locked_site: Site) -> None:
    http = locked_site.http
    begun = await http.post("/session", headers=bearer(7, "read", exp=4_000_000_000))
    assert begun.json() == {"user_id": 7, "scope": "read", "expires_at": "2096-10-02T07:06:40.000Z"}
    said, _, attributes = begun.headers["Set-Cookie"].partition("; ")
    assert said.startswith("__Host-rowcast=")
    path, secure, http_only, same_site, age = attributes.split("; ")
    assert [path, secure, http_only, same_site] == ["Path=/", "Secure", "HttpOnly", "SameSite=Strict"]
    assert 1_000_000 < int(age.removeprefix("Max-Age=")) < 4_000_000_000
    assert (await http.get("/session", headers={"Cookie": said})).json()["user_id"] == 7
    assert "Max-Age" not in (await http.post("/session", headers=bearer(7))).headers["Set-Cookie"]
    for headers in ({}, {"Cookie": "__Host-rowcast=stale"}, bearer(7)):
        ended = await http.delete("/session", headers=headers)
        assert (ended.status_code, ended.headers["Set-Cookie"]) == (
            204,
            f"__Host-rowcast=; {attributes.rpartition(';')[0]}; Max-Age=0",
        )


async def test_a_session_is_not_begun_by_a_cookie_nor_ended_by_another_page(locked_site: Site) -> None:
    http = locked_site.http
    assert (await http.post("/session", headers=cookie())).status_code == 401
    for page in ({"Origin": STRANGER}, {"Sec-Fetch-Site": "cross-site"}):
        ended = await http.delete("/session", headers=page)
        assert (ended.status_code, "Set-Cookie" in ended.headers) == (403, False)


async def test_a_token_too_long_for_a_cookie_is_told_so(locked_site: Site) -> None:
    answer = await locked_site.http.post("/session", headers=bearer(7, filling="x" * 3000))
    assert answer.status_code == 400
    assert "4096" in answer.json()["detail"]


async def test_only_pages_on_the_list_may_read_the_answers(locked_site: Site) -> None:
    for path, status in (("/session", 200), ("/notifications/x", 400), ("/nowhere", 404)):
        friend = await locked_site.http.get(path, headers=bearer() | {"Origin": FRIEND})
        stranger = await locked_site.http.get(path, headers=bearer() | {"Origin": STRANGER})
        assert (friend.status_code, stranger.status_code) == (status, status)
        assert friend.headers["Access-Control-Allow-Origin"] == FRIEND
        assert friend.headers["Access-Control-Allow-Credentials"] == "true"
        assert not [name for name in stranger.headers if name.startswith("access-control")]
        assert friend.headers["Vary"] == stranger.headers["Vary"] == "Origin"
    assert (await locked_site.http.get("/")).headers["Vary"] == "Accept, Origin"
    refused = await locked_site.http.get("/session", headers={"Origin": FRIEND})
    assert (refused.status_code, refused.headers["Access-Control-Allow-Origin"]) == (401, FRIEND)


@pytest.mark.parametrize("path", ["/events/1", "/notifications", "/nowhere"])
async def test_preflights_are_answered_without_a_token(locked_site: Site, path: str) -> None:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    friend = await locked_site.http.options(path, headers=asked | {"Origin": FRIEND})
    assert (friend.status_code, friend.content) == (204, b"")
    assert friend.headers["Access-Control-Allow-Origin"] == FRIEND
    assert set(friend.headers["Access-Control-Allow-Methods"].split(", ")) == {"GET", "POST", "PATCH", "DELETE"}
    allowed = {"Authorization", "Content-Type", "Last-Event-ID", "Cache-Control"}
    assert set(friend.headers["Access-Control-Allow-Headers"].split(", ")) == allowed
    assert friend.headers["Access-Control-Max-Age"] == "7200"
    for origin in (STRANGER, "null"):
        stranger = await locked_site.http.options(path, headers=asked | {"Origin": origin})
        assert stranger.status_code == 403
        assert not [name for name in stranger.headers if name.startswith("access-control")]


@pytest.mark.parametrize("path", ["/", "/docs", "/static/inbox.js", "/healthz", "/session", "/nowhere"])
async def test_every_answer_tells_browsers_to_be_careful(locked_site: Site, path: str) -> None:
    answer = await locked_site.http.get(path, headers={"Accept": "text/html"})
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
    assert "Strict-Transport-Security" not in answer.headers
