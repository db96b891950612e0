"""Headers that every answer has, streams and refusals too: what a browser may make of it, and which other origins may read it (CORS)."""

from __future__ import annotations

from http import HTTPStatus

from hypercorn.typing import ASGISendCallable, HTTPResponseStartEvent, HTTPScope, WWWScope
from quart import Quart, Response, request

from web.problems import Problem
from web.request_ids import HEADER as REQUEST_ID
from web.request_ids import current_request_id

# A route may say otherwise: a page has a policy of its own.
_EVERYWHERE = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_TLS = {"Strict-Transport-Security": "max-age=31536000"}

_EXPOSED = f"Location, Retry-After, WWW-Authenticate, {REQUEST_ID}"
_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST, PATCH, DELETE",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, Last-Event-ID, Cache-Control",
    "Access-Control-Max-Age": "7200",  # seconds: the longest that Chromium keeps it
}


def added_headers(scope: WWWScope, cors_origins: frozenset[str]) -> dict[str, str]:
    """For the answer to this request. An allowed origin is named, never `*`: cookies may come along (Fetch standard, CORS protocol)."""
    headers = _EVERYWHERE | _TLS if scope["scheme"] == "https" else dict(_EVERYWHERE)
    if (request_id := current_request_id()) is not None:
        headers[REQUEST_ID] = request_id
    if cors_origins:
        headers["Vary"] = "Origin"
    origin = _origin(scope)
    if origin in cors_origins:
        headers["Access-Control-Allow-Origin"] = origin
        headers["Access-Control-Allow-Credentials"] = "true"
        headers["Access-Control-Expose-Headers"] = _EXPOSED
    return headers


def answer_start(
    scope: WWWScope, cors_origins: frozenset[str], status: int, headers: dict[str, str]
) -> HTTPResponseStartEvent:
    """The head of an answer that is sent without Quart."""
    all_headers = added_headers(scope, cors_origins) | headers
    return {
        "type": "http.response.start",
        "status": status,
        "headers": [(name.lower().encode(), value.encode()) for name, value in all_headers.items()],
    }


async def send_problem(
    problem: Problem, scope: HTTPScope, cors_origins: frozenset[str], send: ASGISendCallable
) -> None:
    """A refusal that is sent without Quart, whole."""
    await send(answer_start(scope, cors_origins, problem.status, problem.all_headers()))
    body = b"" if scope["method"] == "HEAD" else problem.document()
    await send({"type": "http.response.body", "body": body, "more_body": False})


def harden(app: Quart, cors_origins: frozenset[str]) -> None:
    """Add them to every answer of `app`, which answers preflights now."""

    async def preflight() -> Response | None:
        if request.method != "OPTIONS" or "Access-Control-Request-Method" not in request.headers:
            return None
        origin = _origin(request.scope)
        if origin not in cors_origins:
            raise Problem(
                HTTPStatus.FORBIDDEN,
                f"Pages of {origin[:200]!r} may not call this server. ROWCAST_CORS_ORIGINS lists those that may.",
            )
        return Response(status=HTTPStatus.NO_CONTENT, headers=_PREFLIGHT)

    async def add(response: Response) -> Response:
        headers = added_headers(request.scope, cors_origins)
        if vary := headers.pop("Vary", None):
            response.vary.add(vary)
        for name, value in headers.items():
            response.headers.setdefault(name, value)
        if response.status_code == HTTPStatus.NO_CONTENT:
            del response.headers["Content-Type"]  # Quart's default, of a body that there is none of
        return response

    app.before_request(preflight)
    app.after_request(add)


def _origin(scope: WWWScope) -> str:
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == b"origin"), "")
