"""What people and their tools look at, and what orchestrators ask."""

from __future__ import annotations

import asyncio
import re
from html.parser import HTMLParser

import pytest

from core.user_ids import UserIdType
from tests.web.site import Site

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.mark.parametrize(
    "accept", ["*/*", "application/json", "text/html;q=0.5, application/json", "", "nonsense/;;q=x"]
)
async def test_the_root_lists_the_routes(quiet_site: Site, accept: str) -> None:
    answer = await quiet_site.http.get("/", headers={"accept": accept})
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["vary"] == "Accept"
    assert answer.json()["user_id_type"] == "bigint"
    assert answer.json()["auth"] == "off"
    assert {"GET /events/{user_id}", "POST /notifications", "GET /healthz"} <= answer.json()["routes"].keys()


async def test_a_browser_gets_the_inbox(quiet_site: Site) -> None:
    answer = await quiet_site.http.get("/", headers={"accept": BROWSER})
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["vary"] == "Accept"
    assert "<!doctype html>" in answer.text


@pytest.mark.parametrize("kind", UserIdType)
async def test_the_docs_tell_every_route_and_shape(quiet_site: Site) -> None:
    document = (await quiet_site.http.get("/openapi.json")).json()
    page = (await quiet_site.http.get("/docs")).text
    for path, methods in document["paths"].items():
        for method in methods.keys() - {"parameters"}:
            assert re.search(rf"{method.upper()}</span> <code>{re.escape(path)}</code></h2>", page)
    assert all(f'id="schema-{name}"' in page for name in document["components"]["schemas"])
    targets = set(re.findall(r'id="([^"]+)"', page))
    assert set(re.findall(r'href="#([^"]+)"', page)) <= targets


@pytest.mark.parametrize("path", ["/", "/docs"])
async def test_a_page_runs_and_loads_nothing_of_others(quiet_site: Site, path: str) -> None:
    answer = await quiet_site.http.get(path, headers={"accept": BROWSER})
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self';")
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    parts = _Parts()
    parts.feed(answer.text)
    assert not parts.inline
    for address in parts.loaded:
        assert not re.match(r"[a-z]+:|//", address)
        file = await quiet_site.http.get(f"/{address.lstrip('./')}")
        assert file.status_code == 200, address
        assert file.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["/static/docs.css", "/docs", "/openapi.json"])
async def test_a_file_is_sent_once_for_each_version(quiet_site: Site, path: str) -> None:
    first = await quiet_site.http.get(path)
    assert first.headers["cache-control"] == "no-cache"
    again = await quiet_site.http.get(path, headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert (await quiet_site.http.get(path, headers={"if-none-match": '"other"'})).status_code == 200
    assert (await quiet_site.http.head(path)).content == b""


async def test_types_of_files_do_not_depend_on_the_machine(quiet_site: Site) -> None:
    types = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
    for name in ("docs.css", "inbox.js", "favicon.svg"):
        answer = await quiet_site.http.get(f"/static/{name}")
        assert answer.headers["content-type"].startswith(types[name[name.index(".") :]])


async def test_healthy_says_ok(quiet_site: Site) -> None:
    assert (await quiet_site.http.get("/healthz")).json() == {"status": "ok"}
    checks = {"postgres": "ok", "redis": "ok", "rereads": "ok", "marks": "ok"}
    answer = await quiet_site.http.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "checks": checks})


async def test_readiness_follows_the_hub(site: Site) -> None:
    site.marks.wrong = {"marks": "None was heard."}
    answer = await site.http.get("/readyz")
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
    assert answer.json()["detail"] == "None was heard."
    assert answer.json()["checks"] == {"postgres": "ok", "redis": "ok", "rereads": "ok", "marks": "None was heard."}
    assert (await site.http.get("/healthz")).status_code == 200


@pytest.mark.slow
async def test_without_postgres_a_web_lives_says_so_and_recovers(site: Site) -> None:
    await site.shut_database()
    paths = ("/notifications?user_id=1", "/read/x", "/write/a/b/1", "/notifications/1")
    for answer in await asyncio.gather(*(site.http.get(path, timeout=30) for path in paths)):
        assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
        assert answer.headers["retry-after"] == "2"
        assert not re.search("127.0.0.1|role|database", answer.text), "reasons are for the operator"
    assert (await site.http.get("/readyz")).json()["checks"]["postgres"] != "ok"
    assert (await site.http.get("/healthz")).status_code == 200
    await site.open_database()
    await site.post({"user_id": 1, "message": "back"})
    assert (await site.http.get("/readyz")).status_code == 200


class _Parts(HTMLParser):
    """What a page loads, and what it carries inline that a strict policy would stop."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.inline: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in ("script", "link", "img"):
            self.loaded.append(given.get("src") or given.get("href") or "")
        if (
            tag == "style"
            or (tag == "script" and "src" not in given)
            or any(n == "style" or n.startswith("on") for n in given)
        ):
            self.inline.append(str(self.get_starttag_text()))
