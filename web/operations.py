"""What an operation of the OpenAPI document is made of."""

from __future__ import annotations

from typing import Any, TypeAlias

from web.auth.caller import Scope
from web.schemas import Schema, reference

Operation: TypeAlias = dict[str, Any]

# A stream over the cap gets a 200 and ends; health is told in every flood.
_NEVER_REFUSED = {("stream", "stream"), ("health", "healthz"), ("health", "readyz")}
_PROBLEMS = {
    400: "The request is wrong; the problem says where.",
    401: "A token is needed, and none came, or it was refused; the problem says why.",
    403: "The token lacks the scope, or is another user's; or a page of another origin sent the request.",
    404: "There is no such thing.",
    405: "GET only: a HEAD must not write.",
    408: "The body did not arrive in time.",
    413: "The body is too long.",
    415: "The body is not application/json.",
    429: "Too many requests a second came from this address; Retry-After says when to go on.",
    503: "Postgres does not answer as it should; Retry-After says when to try again.",
}


def operation(
    tag: str, name: str, *, says: tuple[str, str], answers: Schema, problems: tuple[int, ...], **more: Any
) -> Operation:
    """`says` is summary and description; `more` are parameters, requestBody, and security: without it the route is open."""
    if "security" in more:
        problems = (401, 403, *problems)
    if (tag, name) not in _NEVER_REFUSED:
        problems = (*problems, 429)
    refusals = {str(status): _refusal(_PROBLEMS[status]) for status in problems}
    operation = {"tags": [tag], "operationId": name, "summary": says[0], "description": says[1]}
    return operation | more | {"responses": answers | refusals}


def answer(status: int, description: str, schema: Schema | None, **more: Any) -> Schema:
    content = {} if schema is None else {"content": {"application/json": {"schema": schema}}}
    return {str(status): {"description": description} | content | more}


def _refusal(description: str) -> Schema:
    return {"description": description, "content": {"application/problem+json": {"schema": reference("Problem")}}}


def parameter(name: str, place: str, schema: Schema, description: str, **more: Any) -> Schema:
    fixed = {"required": True} if place == "path" else {}
    return {"name": name, "in": place, "schema": schema, "description": description} | fixed | more


def needs(*scopes: Scope, cookie: bool = True) -> list[Schema]:
    """A token with these scopes, as a header or as a cookie."""
    named = [scope.value for scope in scopes]
    return [{"bearer": named}, *([{"cookie": named}] if cookie else [])]


def body(*names: str) -> Schema:
    schemas = [reference(name) for name in names]
    schema = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
    return {"required": True, "content": {"application/json": {"schema": schema}}}
