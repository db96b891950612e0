"""The OpenAPI document: what each route takes and every answer it gives. The tests drive the app by it."""

from __future__ import annotations

from typing import Any, TypeAlias

from core.user_ids import UserIdType
from web.schemas import EXAMPLE_IDS, FILLED, INT64, Schema, components, reference, user_id

Operation: TypeAlias = dict[str, Any]

_DESCRIPTION = (
    "Rowcast carries rows from Postgres to browsers. A row inserted into the table notifications, by POST here or by any SQL client, "
    "is an event on the stream of its user a few milliseconds later."
)

_PROBLEMS = {
    400: "The request is wrong; the problem says where.",
    404: "There is no such thing.",
    405: "GET only: a HEAD must not write.",
    408: "The body did not arrive in time.",
    413: "The body is too long.",
    415: "The body is not application/json.",
    503: "Postgres does not answer as it should; Retry-After says when to try again.",
}
_BODY_PROBLEMS = (408, 413, 415)


def openapi_document(ids: UserIdType, *, version: str) -> dict[str, Any]:
    """The document for a database with user ids of that type."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Rowcast",
            "version": version,
            "summary": "Rows to browsers, exactly once.",
            "description": _DESCRIPTION,
        },
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "paths": _stream(ids) | _notifications(ids) | _one(ids) | _users(ids) | _compat(ids) | _health() | _pages(),
        "components": {"schemas": components(ids)},
    }


_TAGS = {
    "stream": "Live events, as every browser's EventSource reads them.",
    "notifications": "The rows, read and written over HTTP.",
    "users": "What a user has viewed.",
    "key and value": "The two routes of the first proof of concept.",
    "health": "For orchestrators.",
    "pages": "For people.",
}


def _operation(
    tag: str, name: str, *, says: tuple[str, str], answers: Schema, problems: tuple[int, ...], **more: Any
) -> Operation:
    """`says` is summary and description; `more` are parameters and requestBody."""
    refusals = {str(status): _problem(_PROBLEMS[status]) for status in problems}
    operation = {"tags": [tag], "operationId": name, "summary": says[0], "description": says[1]}
    return operation | more | {"responses": answers | refusals}


def _answer(status: int, description: str, schema: Schema | None, **more: Any) -> Schema:
    content = {} if schema is None else {"content": {"application/json": {"schema": schema}}}
    return {str(status): {"description": description} | content | more}


def _problem(description: str) -> Schema:
    return {"description": description, "content": {"application/problem+json": {"schema": reference("Problem")}}}


def _parameter(name: str, place: str, schema: Schema, description: str, **more: Any) -> Schema:
    fixed = {"required": True} if place == "path" else {}
    return {"name": name, "in": place, "schema": schema, "description": description} | fixed | more


def _body(*names: str) -> Schema:
    schemas = [reference(name) for name in names]
    schema = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def _user_in_path(ids: UserIdType) -> Schema:
    return _parameter("user_id", "path", user_id(ids), "The user.", example=EXAMPLE_IDS[ids])


def _stream(ids: UserIdType) -> Schema:
    since = "Where to begin without a last event id: unread (the default), now, all, or a seq such as the one of GET /notifications."
    description = (
        "Every notification of the user and for everyone, in order, each once. First come the events missed, then `event: hello` with "
        "the position, then what happens. `event: reset` says that history is not whole; its id is where the stream goes on. "
        "A comment line keeps the connection open."
    )
    parameters = [
        _user_in_path(ids),
        _parameter("since", "query", {"type": "string", "default": "unread"}, since),
        _parameter("lastEventId", "query", {"type": "string"}, "As the header, for clients that can't send it."),
        _parameter(
            "Last-Event-ID",
            "header",
            {"type": "string"},
            "The id of the last event received; it wins over both parameters.",
        ),
    ]
    says = ("Follow a user", description)
    answers = {"200": {"description": "The stream.", "content": {"text/event-stream": {"schema": {"type": "string"}}}}}
    get = _operation("stream", "stream", says=says, answers=answers, problems=(400,), parameters=parameters)
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
    return _operation(
        "notifications",
        "create",
        says=("Insert", description),
        answers=_answer(201, "Inserted.", created, headers=location),
        problems=(400, *_BODY_PROBLEMS, 503),
        requestBody=_body("NewNotification", "NewNotifications"),
    )


def _list(ids: UserIdType) -> Operation:
    description = (
        "Those of the user and for everyone, newest id first. Only rows that have their place in the log (`seq` of the row up to `seq` "
        "of the page): a row still on its way comes by the stream. A page of long rows may end before `limit`; `next` tells."
    )
    parameters = [
        _parameter("user_id", "query", user_id(ids), "The user.", required=True, example=EXAMPLE_IDS[ids]),
        _parameter("unread", "query", {"type": "boolean", "default": False}, "Only what the user has not viewed."),
        _parameter("before", "query", INT64, "Only ids below this: the `next` of the page before."),
        _parameter(
            "limit", "query", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 50}, "How many at most."
        ),
    ]
    answers = _answer(200, "One page.", reference("Page"))
    return _operation(
        "notifications", "list", says=("List", description), answers=answers, problems=(400, 503), parameters=parameters
    )


def _one(ids: UserIdType) -> Schema:
    no_id = "The notification. What is no whole number of 64 bits is answered 400, not 404."
    viewer = [
        _parameter("user_id", "query", user_id(ids), "Whose `is_viewed` to tell, of a notification for everyone.")
    ]
    marking = (
        "Viewed, or not. For a notification for everyone the body must have `user_id`: each user has their own mark."
    )
    row, gone = _answer(200, "The notification.", reference("Notification")), _answer(204, "It is gone.", None)
    tag, problems = "notifications", (400, 404, 503)
    reading, deleting = ("Read one", "With its state."), ("Delete one", "For everybody, for good.")
    bad, says = (*problems, *_BODY_PROBLEMS), ("Mark one", marking)
    return {
        "/notifications/{id}": {
            "parameters": [_parameter("id", "path", INT64, no_id)],
            "get": _operation(tag, "read", says=reading, answers=row, problems=problems, parameters=viewer),
            "patch": _operation(tag, "mark", says=says, answers=row, problems=bad, requestBody=_body("Mark")),
            "delete": _operation(tag, "delete", says=deleting, answers=gone, problems=problems),
        }
    }


def _users(ids: UserIdType) -> Schema:
    post = _operation(
        "users",
        "viewed",
        says=(
            "Mark all up to a position",
            "The user's own notifications and those for everyone, up to and with that seq.",
        ),
        answers=_answer(200, "What is left unread.", reference("Unread")),
        problems=(400, *_BODY_PROBLEMS, 503),
        parameters=[_user_in_path(ids)],
        requestBody=_body("ViewedUpTo"),
    )
    return {"/users/{user_id}/viewed": {"post": post}}


def _compat(ids: UserIdType) -> Schema:
    reading = ("Read by key", "The newest notification with that key, else the one whose id is the key.")
    writing = (
        "Write by GET",
        "Inserts the message `Key '<key>' was updated to '<value>'` for that user, with the key, and the value in `data.value`.",
    )
    key = _parameter("key", "path", FILLED, "The key; a slash in it is written %2F.")
    value = _parameter("value", "path", FILLED, "The value; a slash in it is written %2F.")
    row, done = (
        _answer(200, "The notification.", reference("Notification")),
        _answer(200, "Inserted.", reference("Status")),
    )
    tag, written = "key and value", [key, value, _user_in_path(ids)]
    read = _operation(tag, "read_key", says=reading, answers=row, problems=(400, 404, 503), parameters=[key])
    write = _operation(tag, "write", says=writing, answers=done, problems=(400, 404, 405, 503), parameters=written)
    return {"/read/{key}": {"get": read}, "/write/{key}/{value}/{user_id}": {"get": write}}


def _health() -> Schema:
    fitness = (
        "Postgres answers within a second, Redis has confirmed the subscriptions, what was missed meanwhile is read again, "
        "a mark of the bridge was heard in the last 3 s."
    )
    alive, fit = _answer(200, "Alive.", reference("Status")), _answer(200, "Fit.", reference("Checks"))
    says = ("Alive?", "Always, while the process serves.")
    return {
        "/healthz": {"get": _operation("health", "healthz", says=says, answers=alive, problems=())},
        "/readyz": {
            "get": _operation("health", "readyz", says=("Fit to serve?", fitness), answers=fit, problems=(503,))
        },
    }


def _pages() -> Schema:
    page = {"text/html": {"schema": {"type": "string"}}}
    inbox = _answer(200, "The page, or the routes.", reference("Routes"))
    inbox["200"]["content"] |= page
    docs = {"200": {"description": "The page.", "content": page}}
    own = _answer(200, "The document.", {"type": "object"})
    first = ("The inbox", "A page for who prefers text/html, else the routes as JSON.")
    return {
        "/": {"get": _operation("pages", "inbox", says=first, answers=inbox, problems=())},
        "/docs": {
            "get": _operation(
                "pages", "docs", says=("The docs", "Made from the document below."), answers=docs, problems=()
            )
        },
        "/openapi.json": {
            "get": _operation("pages", "openapi", says=("The document", "OpenAPI 3.1."), answers=own, problems=())
        },
    }
