"""/read and /write: the two routes of the first proof of concept, kept for those who call them."""

from __future__ import annotations

import json

from quart import Blueprint, Response, request
from werkzeug.exceptions import MethodNotAllowed

from core.user_ids import UserIdType
from db.inbox import Inbox
from web.answers import json_text, json_value
from web.auth.asking import require
from web.auth.caller import Scope
from web.auth.rules import viewer
from web.params import decoded_text, integer, raw_path, refuse_broken_url
from web.problems import Problem, bad_request, not_found

_WRITE = "/write/<key>/<value>/<user_id>"


def compat_blueprint(inbox: Inbox, ids: UserIdType) -> Blueprint:
    """Read a row by its key, write one by GET."""
    blueprint = Blueprint("compat", __name__)
    blueprint.before_request(refuse_broken_url)

    @blueprint.get("/read/<anything:key>")
    async def read(key: str) -> Response:
        who = viewer(require(Scope.READ), None)
        body = await inbox.newest_with_key(key, viewer=who)
        if body is None and (row_id := _as_id(key)) is not None:
            body = await inbox.get(row_id, viewer=who)
        if body is None:
            raise not_found(f"There is no notification with the key {key[:80]!r}, nor with that id.")
        return json_text(body)

    @blueprint.get("/write/<anything:_>")
    async def write(_: str) -> Response:
        require(Scope.SEND)
        if request.method == "HEAD":  # link checkers and previews ask so: nothing may come of it
            raise MethodNotAllowed(valid_methods=["GET"])
        key, value, user_id = _written()
        row = {
            "user_id": ids.canonical(user_id),
            "key": key,
            "message": f"Key '{key}' was updated to '{value}'",
            "data": {"value": value},
        }
        await inbox.insert(json.dumps([row]))
        return json_value({"status": "ok"})

    return blueprint


def _as_id(key: str) -> int | None:
    try:
        return integer(key, name="id")
    except Problem:
        return None


def _written() -> list[str]:
    """Key, value and user id, from the path as it was sent: there a slash that is part of one still looks different (%2F)."""
    parts = [decoded_text(part) for part in raw_path(request).partition(b"/write/")[2].split(b"/")]
    if len(parts) != _WRITE.count("<"):
        raise not_found(f"The path must be {_WRITE}; a slash inside a part is written %2F.")
    if not all(parts):
        raise bad_request(
            f"The path must be {_WRITE} with no part empty. For an empty value there is POST /notifications."
        )
    return parts
