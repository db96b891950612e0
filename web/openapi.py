"""The OpenAPI document: what each route takes and every answer it gives. The tests drive the app by it."""

from __future__ import annotations

from typing import Any

from core.user_ids import UserIdType
from web.auth.caller import Scope
from web.operations import Operation, answer, body, needs, operation, parameter
from web.schemas import EXAMPLE_IDS, FILLED, INT64, Schema, components, reference, user_id

_DESCRIPTION = (
    "Rowcast carries rows from Postgres to browsers. A row inserted into the table notifications, by POST here or by any SQL client, "
    "is an event on the stream of its user a few milliseconds later."
)

_OF_TOKENS = {"401", "403"}
_BODY_PROBLEMS = (408, 413, 415)
_BY_COOKIE = "__Host-rowcast, as POST /session sets it: for EventSource, which can send no header."
_SCHEMES: Schema = {
    "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "Never in the URL."},
    "cookie": {"type": "apiKey", "in": "cookie", "name": "__Host-rowcast", "description": _BY_COOKIE},
}


def openapi_document(ids: UserIdType, *, version: str, locked: bool) -> dict[str, Any]:
    """The document for a database with user ids of that type; `locked`: tokens are needed."""
    paths = _stream(ids) | _notifications(ids) | _one(ids) | _users(ids) | _compat(ids)
    paths |= _session() | _revocations() | _health() | _pages()
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Rowcast",
            "version": version,
            "summary": "Rows to browsers, exactly once.",
            "description": _DESCRIPTION,
        },
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "paths": paths if locked else _unlocked(paths),
        "components": {"schemas": components(ids)} | ({"securitySchemes": _SCHEMES} if locked else {}),
    }


def _unlocked(paths: Schema) -> Schema:
    """With auth off no operation needs a token, or says that it was refused; a list has to be told whose."""
    for path in paths.values():
        for one in (member for name, member in path.items() if name != "parameters"):
            one.pop("security", None)
            one["responses"] = {status: said for status, said in one["responses"].items() if status not in _OF_TOKENS}
    paths["/notifications"]["get"]["parameters"][0]["required"] = True
    return paths


_TAGS = {
    "stream": "Live events, as every browser's EventSource reads them.",
    "notifications": "The rows, read and written over HTTP.",
    "users": "What a user has viewed.",
    "key and value": "The two routes of the first proof of concept.",
    "session": "A token as a cookie.",
    "revocations": "Tokens that are refused before they expire.",
    "health": "For orchestrators.",
    "pages": "For people.",
}


def _user_in_path(ids: UserIdType) -> Schema:
    return parameter("user_id", "path", user_id(ids), "The user.", example=EXAMPLE_IDS[ids])


def _stream(ids: UserIdType) -> Schema:
    since = "Where to begin without a last event id: unread (the default), now, all, or a seq such as the one of GET /notifications."
    description = (
        "Every notification of the user and for everyone, in order, each once. First come the events missed, then `event: hello` with "
        "the position, then what happens. `event: reset` says that history is not whole; its id is where the stream goes on. "
        "A comment line keeps the connection open."
    )
    parameters = [
        _user_in_path(ids),
        parameter("since", "query", {"type": "string", "default": "unread"}, since),
        parameter("lastEventId", "query", {"type": "string"}, "As the header, for clients that can't send it."),
        parameter(
            "Last-Event-ID",
            "header",
            {"type": "string"},
            "The id of the last event received; it wins over both parameters.",
        ),
    ]
    says = ("Follow a user", description)
    answers = {"200": {"description": "The stream.", "content": {"text/event-stream": {"schema": {"type": "string"}}}}}
    get = operation(
        "stream",
        "stream",
        says=says,
        answers=answers,
        problems=(400,),
        parameters=parameters,
        security=needs(Scope.READ),
    )
    return {"/events/{user_id}": {"get": get}}


def _notifications(ids: UserIdType) -> Schema:
    return {"/notifications": {"get": _list(ids), "post": _create()}}


def _create() -> Operation:
    description = (
        "An object in, an object out; an array of up to 1,000 in, an array out in the same order, all or nothing. It only inserts, so "
        "`seq` is null in the answer: the stream brings the event."
    )
    location = {"Location": {"schema": {"type": "string"}, "description": "Of a single notification."}}
    created = {"anyOf": [reference("Notification"), {"type": "array", "items": reference("Notification")}]}
    return operation(
        "notifications",
        "create",
        says=("Insert", description),
        answers=answer(201, "Inserted.", created, headers=location),
        problems=(400, *_BODY_PROBLEMS, 503),
        requestBody=body("NewNotification", "NewNotifications"),
        security=needs(Scope.SEND),
    )


def _list(ids: UserIdType) -> Operation:
    description = (
        "Those of the user and for everyone, newest id first. Only rows that have their place in the log (`seq` of the row up to `seq` "
        "of the page): a row still on its way comes by the stream. A page of long rows may end before `limit`; `next` tells."
    )
    parameters = [
        parameter("user_id", "query", user_id(ids), "The user; without it the token's.", example=EXAMPLE_IDS[ids]),
        parameter("unread", "query", {"type": "boolean", "default": False}, "Only what the user has not viewed."),
        parameter("before", "query", INT64, "Only ids below this: the `next` of the page before."),
        parameter(
            "limit", "query", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 50}, "How many at most."
        ),
    ]
    answers = answer(200, "One page.", reference("Page"))
    return operation(
        "notifications",
        "list",
        says=("List", description),
        answers=answers,
        problems=(400, 503),
        parameters=parameters,
        security=needs(Scope.READ),
    )


def _one(ids: UserIdType) -> Schema:
    no_id = "The notification. What is no whole number of 64 bits is answered 400, not 404."
    viewer = [
        parameter(
            "user_id",
            "query",
            user_id(ids),
            "Whose `is_viewed` to tell, of a notification for everyone; with a token its user's.",
        )
    ]
    marking = "Viewed, or not. Of a notification for everyone each user has their own mark: the token's user, or with auth off `user_id` in the body."
    row, gone = answer(200, "The notification.", reference("Notification")), answer(204, "It is gone.", None)
    tag, problems = "notifications", (400, 404, 503)
    reading = ("Read one", "With its state.")
    deleting = ("Delete one", "For good. One for everyone, or of others, takes the scope admin.")
    reads, views = needs(Scope.READ), needs(Scope.VIEW)
    bad, says = (*problems, *_BODY_PROBLEMS), ("Mark one", marking)
    return {
        "/notifications/{id}": {
            "parameters": [parameter("id", "path", INT64, no_id)],
            "get": operation(
                tag, "read", says=reading, answers=row, problems=problems, parameters=viewer, security=reads
            ),
            "patch": operation(
                tag, "mark", says=says, answers=row, problems=bad, requestBody=body("Mark"), security=views
            ),
            "delete": operation(tag, "delete", says=deleting, answers=gone, problems=problems, security=views),
        }
    }


def _users(ids: UserIdType) -> Schema:
    post = operation(
        "users",
        "viewed",
        says=(
            "Mark all up to a position",
            "The user's own notifications and those for everyone, up to and with that seq.",
        ),
        answers=answer(200, "What is left unread.", reference("Unread")),
        problems=(400, *_BODY_PROBLEMS, 503),
        parameters=[_user_in_path(ids)],
        requestBody=body("ViewedUpTo"),
        security=needs(Scope.VIEW),
    )
    return {"/users/{user_id}/viewed": {"post": post}}


def _compat(ids: UserIdType) -> Schema:
    reading = ("Read by key", "The newest notification with that key, else the one whose id is the key.")
    writing = (
        "Write by GET",
        "Inserts the message `Key '<key>' was updated to '<value>'` for that user, with the key, and the value in `data.value`.",
    )
    key = parameter("key", "path", FILLED, "The key; a slash in it is written %2F.")
    value = parameter("value", "path", FILLED, "The value; a slash in it is written %2F.")
    row, done = (
        answer(200, "The notification.", reference("Notification")),
        answer(200, "Inserted.", reference("Status")),
    )
    tag, written = "key and value", [key, value, _user_in_path(ids)]
    read = operation(
        tag,
        "read_key",
        says=reading,
        answers=row,
        problems=(400, 404, 503),
        parameters=[key],
        security=needs(Scope.READ),
    )
    write = operation(
        tag,
        "write",
        says=writing,
        answers=done,
        problems=(400, 404, 405, 503),
        parameters=written,
        security=needs(Scope.SEND, cookie=False),
    )
    return {"/read/{key}": {"get": read}, "/write/{key}/{value}/{user_id}": {"get": write}}


def _session() -> Schema:
    said, gone = answer(200, "Whose token it is.", reference("Session")), answer(204, "The cookie has expired.", None)
    making = "Sets a cookie that lasts as long as the token: a page of this server then needs no header."
    ending = "Expires the cookie, whether its token still holds or not; the token itself stays what it is."
    begin = operation(
        "session",
        "begin_session",
        says=("Make a cookie of a token", making),
        answers=said,
        problems=(400,),
        security=needs(cookie=False),
    )
    return {
        "/session": {
            "get": operation(
                "session",
                "session",
                says=("Who am I?", "As the token says."),
                answers=said,
                problems=(400,),
                security=needs(),
            ),
            "post": begin,
            "delete": operation(
                "session", "end_session", says=("Drop the cookie", ending), answers=gone, problems=(403,)
            ),
        }
    }


def _revocations() -> Schema:
    description = (
        "All tokens that a user has by now (with an `iat` up to this moment, or none), or the one with that `jti`: from now on they are "
        "refused and their streams end, on every server within a second. Needs the scope `admin`. With auth off there are none: 404."
    )
    post = operation(
        "revocations",
        "revoke",
        says=("Revoke", description),
        answers=answer(200, "Revoked.", reference("Revoked")),
        problems=(400, 404, *_BODY_PROBLEMS, 503),
        requestBody=body("Revocation"),
        security=needs(Scope.ADMIN),
    )
    return {"/revocations": {"post": post}}


def _health() -> Schema:
    fitness = (
        "Postgres answers within a second, Redis has confirmed the subscriptions, what was missed meanwhile is read again, "
        "a mark of the bridge was heard in the last 3 s; with tokens, which were revoked is known."
    )
    alive, fit = answer(200, "Alive.", reference("Status")), answer(200, "Fit.", reference("Checks"))
    says = ("Alive?", "Always, while the process serves.")
    return {
        "/healthz": {"get": operation("health", "healthz", says=says, answers=alive, problems=())},
        "/readyz": {
            "get": operation("health", "readyz", says=("Fit to serve?", fitness), answers=fit, problems=(503,))
        },
        "/metrics": {"get": _metrics()},
    }


def _metrics() -> Operation:
    description = (
        "Of this one process: its open streams, and what was refused because of each cap. Needs the scope `admin`."
    )
    counted = {
        "200": {"description": "As Prometheus reads it.", "content": {"text/plain": {"schema": {"type": "string"}}}}
    }
    return operation(
        "health",
        "metrics",
        says=("Counters", description),
        answers=counted,
        problems=(),
        security=needs(Scope.ADMIN),
    )


def _pages() -> Schema:
    page = {"text/html": {"schema": {"type": "string"}}}
    inbox = answer(200, "The page, or the routes.", reference("Routes"))
    inbox["200"]["content"] |= page
    docs = {"200": {"description": "The page.", "content": page}}
    own = answer(200, "The document.", {"type": "object"})
    first = ("The inbox", "A page for who prefers text/html, else the routes as JSON.")
    return {
        "/": {"get": operation("pages", "inbox", says=first, answers=inbox, problems=())},
        "/docs": {
            "get": operation(
                "pages", "docs", says=("The docs", "Made from the document below."), answers=docs, problems=()
            )
        },
        "/openapi.json": {
            "get": operation("pages", "openapi", says=("The document", "OpenAPI 3.1."), answers=own, problems=())
        },
    }
