"""With auth off: pages of others, which this machine's browser visits, get it to write nothing, and can't pose as ours."""

from __future__ import annotations

from typing import Any

import pytest

from tests.web.site import Site

WRITING: list[dict[str, Any]] = [
    {"method": "POST", "url": "/notifications", "json": {"user_id": 1, "message": "m"}},
    {"method": "GET", "url": "/write/k/v/1"},
    {"method": "GET", "url": "//write/k/v/1"},
    {"method": "GET", "url": "///write/k/v/1"},
    {"method": "PATCH", "url": "/notifications/1", "json": {"is_viewed": True}},
    {"method": "DELETE", "url": "/notifications/1"},
    {"method": "POST", "url": "/users/1/viewed", "json": {"up_to": 1}},
]


@pytest.mark.parametrize("way", WRITING, ids=lambda way: f"{way['method']} {way['url']}")
async def test_pages_of_others_write_nothing(quiet_site: Site, way: dict[str, Any]) -> None:
    for page in (
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://127.0.0.1:3000"},
    ):
        whole = way | {"url": quiet_site.url + way["url"]}  # httpx would take what follows two slashes for a host
        answer = await quiet_site.http.request(**whole, headers=page)
        assert (answer.status_code, "ROWCAST_CORS_ORIGINS" in answer.text) == (403, True)
    rows = await quiet_site.list(1)
    assert rows["items"] == []


async def test_our_own_and_no_browser_write(site: Site) -> None:
    own: list[dict[str, str]] = [
        {},
        {"Origin": site.url},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "same-origin"},
    ]
    for page in own:
        for way in WRITING:
            whole = way | {"url": site.url + way["url"]}
            assert (await site.http.request(**whole, headers=page)).status_code in {200, 201, 204, 404}


async def test_pages_of_others_may_not_read_what_they_ask_for(quiet_site: Site) -> None:
    answer = await quiet_site.http.get("/notifications?user_id=1", headers={"Origin": "https://evil.example"})
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8000", 200),
        ("[::1]:8000", 200),
        ("localhost", 200),
        ("LOCALHOST.:80", 200),
        ("inbox.localhost:8000", 200),
        ("web:8000", 200),
        ("evil.example", 403),
        ("evil.example.:8000", 403),
        ("127.0.0.1.evil.example:8000", 403),
        ("localhost.evil.example", 403),
    ],
)
async def test_a_name_that_was_pointed_here_is_not_answered(quiet_site: Site, host: str, status: int) -> None:
    """DNS rebinding: to the browser such a page is of our origin, and would read all."""
    for path in ("/notifications?user_id=1", "/healthz"):
        answer = await quiet_site.http.get(path, headers={"Host": host})
        assert answer.status_code == status
    if status != 200:
        assert all(word in answer.json()["detail"] for word in ("ROWCAST_AUTH=jwt", "--insecure", "localhost"))


async def test_tokens_are_not_looked_at(quiet_site: Site) -> None:
    for headers in ({"Authorization": "Bearer nonsense"}, {"Authorization": "Basic x"}, {"Cookie": "__Host-rowcast=x"}):
        assert (await quiet_site.http.get("/notifications?user_id=1", headers=headers)).status_code == 200


async def test_there_is_no_session(quiet_site: Site) -> None:
    said = await quiet_site.http.get("/session")
    assert said.json() == {"user_id": None, "scope": "read view send admin", "expires_at": None}
    begun = await quiet_site.http.post("/session", headers={"Authorization": "Bearer x"})
    assert (begun.status_code, "Auth is off" in begun.json()["detail"]) == (400, True)
    assert (await quiet_site.http.delete("/session")).status_code == 204
