"""Each operation of the OpenAPI document, by what it says of itself: token, scope, and another user's rows. A new one without a rule fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any, cast

import httpx
import pytest
from prometheus_client import CollectorRegistry
from werkzeug.routing import Rule

from core.clock import SystemClock
from core.user_ids import UserIdType
from db.inbox import Pool
from tests.web.auth.minting import bearer
from tests.web.site import Marks, Site
from web.app import create_app
from web.auth.caller import Scope, Verifier
from web.auth.gate import Gate
from web.config import WebConfig
from web.openapi import openapi_document
from web.routes.events import events_blueprint
from web.routes.metrics import metrics_blueprint

ALL = "read view send"
OPEN = {"healthz", "readyz", "inbox", "docs", "openapi", "end_session"}
# What the token of one user gets that asks for what is another's.
ANOTHERS = {
    **dict.fromkeys(("stream", "list", "viewed", "revoke", "metrics"), 403),
    **dict.fromkeys(("read", "mark", "delete", "read_key"), 404),
    "create": 201,
    "write": 200,
    **dict.fromkeys(("session", "begin_session"), 200),  # tell of the token alone
}
BODIES: dict[str, Callable[[int], dict[str, Any]]] = {
    "create": lambda user: {"user_id": user, "message": "m"},
    "mark": lambda _: {"is_viewed": True},
    "viewed": lambda _: {"up_to": 0},
    "revoke": lambda user: {"user": user},
}
_users = count(1000)


@dataclass(frozen=True)
class Operation:
    """One of the document."""

    id: str
    method: str
    path: str
    security: list[dict[str, list[str]]]

    @property
    def scope(self) -> str | None:
        return next((scope for way in self.security for scope in way.get("bearer", [])), None)

    def request(self, user: int, row: object, key: str) -> dict[str, Any]:
        """What asks for this user's: their row, which has that key."""
        path = self.path.format(user_id=user, id=row, key=key, value="v")
        request: dict[str, Any] = {"method": self.method, "url": path}
        if self.id == "list":
            request["params"] = {"user_id": user}
        if self.id in BODIES:
            request["json"] = BODIES[self.id](user)
        return request


def _operations() -> Iterator[Operation]:
    document = openapi_document(UserIdType.BIGINT, version="0", locked=True)
    for path, members in document["paths"].items():
        for method, one in members.items():
            if method != "parameters":
                yield Operation(one["operationId"], method.upper(), path, one.get("security", []))


OPERATIONS = {operation.id: operation for operation in _operations()}
LOCKED = [operation for operation in OPERATIONS.values() if operation.security]


def _named(operation: Operation) -> str:
    return operation.id


def test_each_is_open_or_says_what_becomes_of_others() -> None:
    assert {operation.id for operation in OPERATIONS.values() if not operation.security} == OPEN
    assert {operation.id for operation in LOCKED} == ANOTHERS.keys()


def test_each_route_is_in_the_document() -> None:
    config = WebConfig()
    gate = Gate(config, cast(Verifier, object()), SystemClock())
    blueprints = events_blueprint(config.user_id_type), metrics_blueprint(CollectorRegistry())
    app = create_app(config, gate, cast(Pool, None), Marks(), *blueprints)
    served = {_pattern(rule, method) for rule in app.url_map.iter_rules() for method in rule.methods or ()}
    told = {(operation.method, operation.path.partition("{")[0]) for operation in OPERATIONS.values()}
    assert {one for one in served if one[0] not in {"HEAD", "OPTIONS"}} == told | {("GET", "/static/")}


def _pattern(rule: Rule, method: str) -> tuple[str, str]:
    return method, rule.rule.partition("<")[0]


@pytest.mark.parametrize("operation", LOCKED, ids=_named)
async def test_without_a_token_it_is_a_401(locked_site: Site, operation: Operation) -> None:
    answer = await locked_site.http.request(**operation.request(1, 1, "k"))
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("operation", [one for one in LOCKED if one.scope], ids=_named)
async def test_it_needs_its_scope_and_no_other(locked_site: Site, operation: Operation) -> None:
    user = next(_users)
    row = (await locked_site.http.post("/notifications", json=new(user, key=f"k{user}"), headers=bearer(9, ALL))).json()
    others = " ".join(scope for scope in Scope if scope not in {operation.scope, Scope.ADMIN})
    request = operation.request(user, row["id"], f"k{user}")
    refused = await locked_site.http.request(**request, headers=bearer(user, others))
    assert refused.status_code == 403
    assert refused.headers["WWW-Authenticate"] == f'Bearer error="insufficient_scope", scope="{operation.scope}"'
    assert (await locked_site.http.request(**request, headers=bearer(user, operation.scope))).is_success


@pytest.mark.parametrize("operation", LOCKED, ids=_named)
async def test_what_is_anothers_stays_so(locked_site: Site, operation: Operation) -> None:
    """And the answer is the very same for what does not exist at all."""
    one, other, nobody = next(_users), next(_users), next(_users)
    created = await locked_site.http.post("/notifications", json=new(other, key=f"k{other}"), headers=bearer(one, ALL))
    row = created.json()["id"]
    asking = bearer(one, ALL)
    answer = await locked_site.http.request(**operation.request(other, row, f"k{other}"), headers=asking)
    assert answer.status_code == ANOTHERS[operation.id]
    if not answer.is_success:
        missing = operation.request(nobody, row + 1_000_000, f"k{nobody}")
        assert _told(await locked_site.http.request(**missing, headers=asking)) == _told(answer)
    kept = await locked_site.http.get(f"/notifications/{row}", headers=bearer(other))
    assert (kept.status_code, kept.json()["is_viewed"]) == (200, False)


def _told(answer: httpx.Response) -> tuple[int, list[tuple[str, str]], str]:
    """All of an answer but what it repeats of the question."""
    headers = [(name, value) for name, value in answer.headers.items() if name not in {"date", "content-length"}]
    asked = answer.request.url.path.split("/")[2:3]
    text = answer.text
    for word in asked:
        text = text.replace(word, "…")
    return answer.status_code, headers, text


def new(user: int | None, **fields: Any) -> dict[str, Any]:
    """The body of a notification for them."""
    return {"user_id": user, "message": "m", **fields}
