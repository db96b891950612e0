"""Every error as RFC 9457 problem+json: a sentence that says what to do, never a stack trace."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

import structlog
from quart import Quart, Response
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.routing import RoutingException

from core.errors import (
    DatabaseUnavailableError,
    DatabaseUnfitError,
    InvalidUserIdError,
    SlowDatabaseError,
    UnreadableRowError,
)
from db.inbox import NotOwnError, RowRefusedError, ViewerMissingError
from web.auth.caller import KeysUnavailableError
from web.refusals import Cap, Refusals

_log = structlog.get_logger("web")

RETRY_AFTER = 2  # seconds
_PROBLEM_JSON = "application/problem+json"


class Problem(Exception):  # noqa: N818 -- an answer, not a failure of ours
    """Ends a request with that status and sentence."""

    def __init__(self, status: HTTPStatus, detail: str, **headers: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.members: dict[str, Any] = {}

    def document(self) -> bytes:
        """The body."""
        document: dict[str, Any] = {
            "type": "about:blank",
            "title": self.status.phrase,
            "status": self.status,
            "detail": self.detail,
        }
        return json.dumps(document | self.members, separators=(",", ":")).encode()

    def all_headers(self) -> dict[str, str]:
        """Those of its own, and those of every problem."""
        return {"Content-Type": _PROBLEM_JSON} | self.headers | {"Cache-Control": "no-store"}

    def response(self) -> Response:
        """The problem document, with its headers."""
        return Response(self.document(), self.status, headers=self.all_headers())


def bad_request(detail: str) -> Problem:
    """The request is wrong and `detail` says where."""
    return Problem(HTTPStatus.BAD_REQUEST, detail)


def not_found(detail: str) -> Problem:
    """What the request names is not there."""
    return Problem(HTTPStatus.NOT_FOUND, detail)


def register_problems(app: Quart, refusals: Refusals) -> None:
    """Make every error of `app`, expected or not, answer as a problem. Those that are a cap's are counted."""

    def of_http(error: HTTPException) -> Response | HTTPException:
        if error.code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            refusals.count(Cap.BODY_BYTES)
        return _of_http(error)

    def of_slow_database(error: SlowDatabaseError) -> Response:
        refusals.count(Cap.QUERY_TIMEOUT)
        return _of_database(error)

    app.register_error_handler(Problem, Problem.response)
    app.register_error_handler(HTTPException, of_http)
    app.register_error_handler(InvalidUserIdError, _of_input)
    app.register_error_handler(RowRefusedError, _of_input)
    app.register_error_handler(ViewerMissingError, _of_missing_viewer)
    app.register_error_handler(NotOwnError, _of_others)
    app.register_error_handler(KeysUnavailableError, _of_keys)
    app.register_error_handler(SlowDatabaseError, of_slow_database)
    app.register_error_handler(UnreadableRowError, _of_unreadable_row)
    app.register_error_handler(DatabaseUnavailableError, _of_database)
    app.register_error_handler(DatabaseUnfitError, _of_database)
    app.register_error_handler(Exception, _of_bug)


_SENTENCES = {
    HTTPStatus.NOT_FOUND: "There is nothing here. GET / lists the routes and /docs describes them.",
    HTTPStatus.METHOD_NOT_ALLOWED: "This route has no such method; the header Allow names those it has.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The request body is too long for this server. Send less at once.",
    HTTPStatus.REQUEST_TIMEOUT: "The request body did not arrive in time. Send it again.",
}


def _of_http(error: HTTPException) -> Response | HTTPException:
    if isinstance(error, RoutingException) or error.code is None:
        return error
    status = HTTPStatus(error.code)
    problem = Problem(status, _SENTENCES.get(status, error.description or status.phrase))
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        problem.headers["Allow"] = ", ".join(sorted(error.valid_methods))
    return problem.response()


def _of_input(error: Exception) -> Response:
    return bad_request(str(error)).response()


def _of_missing_viewer(_: ViewerMissingError) -> Response:
    return bad_request(
        "This notification is for everyone, so the body must say who has viewed it, in 'user_id'."
    ).response()


def _of_others(_: NotOwnError) -> Response:
    return Problem(
        HTTPStatus.FORBIDDEN, "This notification is for everyone: deleting it takes a token with the scope 'admin'."
    ).response()


def _of_keys(error: Exception) -> Response:
    # Once for each request, by whoever invents a key id; web.jwks_failed tells the operator why, once.
    _log.debug("web.keys_unavailable", reason=str(error))
    return unavailable("Whose token this is can't be told just now. Try again in a few seconds.").response()


def _of_database(error: Exception) -> Response:
    # The reason may name hosts and roles: it is for the operator.
    _log.warning("web.database_unavailable", reason=str(error))
    return unavailable("Postgres does not answer as it should just now. Try again in a few seconds.").response()


def _of_unreadable_row(_: UnreadableRowError) -> Response:
    _log.error(
        "row.unreadable",
        hint="a row asked for is more than Postgres can write out as JSON: delete it, or make it smaller",
    )
    return Problem(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "A notification asked for is more than Postgres can write out as JSON. Delete it, or make it smaller.",
    ).response()


def unavailable(detail: str) -> Problem:
    """The fault is ours and passes: come back soon."""
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, Retry_After=str(RETRY_AFTER))


def _of_bug(error: Exception) -> Response:
    _log.error("web.failed", exc_info=error)
    return Problem(
        HTTPStatus.INTERNAL_SERVER_ERROR, "Rowcast failed, and its log says why. This is a bug: please report it."
    ).response()
