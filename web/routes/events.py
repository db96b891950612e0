"""/events/<user_id>: what a request for a stream asks for, and the answers that are none: refusals, HEAD, other methods.

The stream itself is answered by `web.front`, before Quart.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qsl

from quart import Blueprint, Response, request
from werkzeug.exceptions import BadRequest

from core.errors import InvalidUserIdError
from core.user_ids import UserIdType
from web.auth import asking
from web.auth.caller import Caller, Scope
from web.auth.rules import require_own, require_scope
from web.params import raw_path, require_readable
from web.stream import Since, Start, Unknown

_SEQ = re.compile(r"[0-9]{1,19}", re.ASCII)

HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store, no-transform",
    "X-Accel-Buffering": "no",
}


def asked_for(
    ids: UserIdType, caller: Caller, user_id: str, *, path: bytes, query: bytes, last_event_id: str | None
) -> tuple[str, Start]:
    """Whose stream, and from where; raises BadRequest or Problem for what can never succeed: an EventSource gives up on that alone.

    `user_id` is as the server decoded it, `path` and `query` as they were sent.
    """
    require_scope(caller, Scope.READ)
    require_readable(path, query)
    try:
        canonical = ids.canonical(user_id)
    except InvalidUserIdError as error:
        raise BadRequest(str(error)) from error
    require_own(caller, canonical)
    return canonical, _start(query, last_event_id)


def events_blueprint(ids: UserIdType) -> Blueprint:
    """The route without its streams."""
    blueprint = Blueprint("events", __name__)

    @blueprint.get("/events/<anything:user_id>")
    async def events(user_id: str) -> Response:
        position = request.headers.get("Last-Event-ID")
        asked_for(
            ids, asking.caller(), user_id, path=raw_path(request), query=request.query_string, last_event_id=position
        )
        return Response(b"", headers=HEADERS)

    return blueprint


def _start(query: bytes, last_event_id: str | None) -> Start:
    """The header wins over `lastEventId`, which polyfills send, and that over `since`. An empty one counts as none."""
    args = dict(reversed(parse_qsl(query.decode(), keep_blank_values=True))) if query else {}
    position = last_event_id or args.get("lastEventId")
    if position:
        return int(position) if _SEQ.fullmatch(position) else Unknown()
    since = args.get("since", Since.UNREAD)
    if _SEQ.fullmatch(since):
        return int(since)
    try:
        return Since(since)
    except ValueError as error:
        raise BadRequest(
            f"since={since[:40]!r} is neither unread, now, all nor a seq (a whole number); leave it out to get what is unread."
        ) from error
