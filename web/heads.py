"""Bounds the head of a request before anything reads it: servers bound only what has not come whole."""

from __future__ import annotations

from collections.abc import Awaitable
from http import HTTPStatus

from hypercorn.typing import ASGIFramework, ASGIReceiveCallable, ASGISendCallable, HTTPScope, Scope

from web.hardening import send_problem
from web.leaving import while_there
from web.problems import Problem
from web.refusals import Cap, Refusals

# Of a field, beside its name and value: ": " and the end of the line; of the first line what is in no scope.
_FIELD, _LINE = 4, 16


class BoundedHeads:
    """`app`, for requests whose line and headers together are no longer than `longest` bytes (0: any)."""

    def __init__(self, app: ASGIFramework, longest: int, refusals: Refusals, cors_origins: frozenset[str]) -> None:
        self._app = app
        self._longest = longest
        self._refusals = refusals
        self._cors_origins = cors_origins

    def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> Awaitable[None]:
        """One request, as ASGI has it; no coroutine of its own, which would be held as long as a stream is open."""
        if scope["type"] == "http" and 0 < self._longest < _length(scope):
            self._refusals.count(Cap.HEADER_BYTES)
            return while_there(receive, self._refuse(scope, send))
        return self._app(scope, receive, send)

    async def _refuse(self, scope: HTTPScope, send: ASGISendCallable) -> None:
        detail = f"The line and the headers of the request are longer than the {self._longest} bytes that this server takes. Send fewer cookies."
        problem = Problem(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, detail)
        await send_problem(problem, scope, self._cors_origins, send)


def _length(scope: HTTPScope) -> int:
    line = len(scope["raw_path"]) + len(scope["query_string"]) + _LINE
    return line + sum(len(name) + len(value) + _FIELD for name, value in scope["headers"])
