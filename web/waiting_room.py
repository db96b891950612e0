"""What a web process answers while it has not seen its Postgres yet: it lives, is not ready, and streams are to come back."""

from __future__ import annotations

from quart import Quart, Response

from core.clock import Clock
from web import sse
from web.answers import json_value
from web.config import WebConfig
from web.hardening import harden
from web.incoming import App
from web.problems import register_problems, unavailable
from web.refusals import Refusals
from web.routes.events import HEADERS
from web.stream import retry_after

_METHODS = ["GET", "POST", "PATCH", "DELETE"]
_CHECKS = {"postgres": "Postgres has not answered since this server started."}


def waiting_room(config: WebConfig, refusals: Refusals, clock: Clock) -> Quart:
    """The app of before the app. An EventSource gives up on anything but 200: it gets one, with a `retry:` and a clean end."""
    app = App(__name__)
    register_problems(app, refusals)
    harden(app, config.cors_origins)

    @app.get("/healthz")
    async def healthz() -> Response:
        return json_value({"status": "ok"})

    @app.get("/events/<anything:user_id>")
    async def events(user_id: str) -> Response:  # noqa: ARG001 -- whoever it is for
        return Response(sse.retry(retry_after(config, clock)), headers=HEADERS)

    @app.route("/", defaults={"path": ""}, methods=_METHODS)
    @app.route("/<anything:path>", methods=_METHODS)
    async def others(path: str) -> Response:  # noqa: ARG001 -- whatever it is
        problem = unavailable(f"{_CHECKS['postgres']} It goes on trying; try again in a moment.")
        problem.members["checks"] = _CHECKS
        raise problem

    return app
