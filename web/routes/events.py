"""GET /events/<user_id>: the stream."""

from __future__ import annotations

import re

from quart import Blueprint, Response, request
from werkzeug.exceptions import BadRequest

from core.clock import Clock
from core.errors import InvalidUserIdError
from db.history import History
from web.config import WebConfig
from web.hub import Hub
from web.params import refuse_broken_url
from web.stream import Since, Start, Stream, Unknown

_SEQ = re.compile(r"[0-9]{1,19}", re.ASCII)

HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store, no-transform",
    "X-Accel-Buffering": "no",
}


def events_blueprint(config: WebConfig, hub: Hub, history: History, clock: Clock) -> Blueprint:
    """The stream's route. 200, or 400 for a user id or `since` that can never succeed: an EventSource gives up on anything else."""
    blueprint = Blueprint("events", __name__)
    blueprint.before_request(refuse_broken_url)

    @blueprint.get("/events/<anything:user_id>")
    async def events(user_id: str) -> Response:
        try:
            canonical = config.user_id_type.canonical(user_id)
        except InvalidUserIdError as error:
            raise BadRequest(str(error)) from error
        stream = Stream(hub, history, config, clock, user_id=canonical, start=_start())
        response = Response(b"" if request.method == "HEAD" else stream.frames(), headers=HEADERS)
        response.timeout = None  # Quart's own limit would cut the stream after a minute
        return response

    return blueprint


def _start() -> Start:
    """The header wins over `lastEventId`, which polyfills send, and that over `since`. An empty one counts as none."""
    position = request.headers.get("Last-Event-ID") or request.args.get("lastEventId")
    if position:
        return int(position) if _SEQ.fullmatch(position) else Unknown()
    since = request.args.get("since", Since.UNREAD)
    if _SEQ.fullmatch(since):
        return int(since)
    try:
        return Since(since)
    except ValueError as error:
        raise BadRequest(
            f"since={since[:40]!r} is neither unread, now, all nor a seq (a whole number); leave it out to get what is unread."
        ) from error
