"""The Quart app: resources, streams and pages over one pool and one hub. Nothing is started here."""

from __future__ import annotations

from http import HTTPStatus

from quart import Blueprint, Quart, Response, request

from core.clock import Clock, SystemClock
from db.inbox import Inbox, Pool
from web.auth.asking import put_gate
from web.auth.gate import Gate
from web.auth.revocations import Revocations
from web.config import WebConfig
from web.hardening import harden
from web.incoming import App, DrainedBody, DrainedRequest
from web.problems import register_problems
from web.refusals import Refusals
from web.routes.compat import compat_blueprint
from web.routes.health import Readiness, health_blueprint
from web.routes.notifications import notifications_blueprint
from web.routes.pages import pages_blueprint
from web.routes.revocations import revocations_blueprint
from web.routes.session import session_blueprint
from web.routes.users import users_blueprint

# Seconds in which the whole body of a request must have come.
BODY_TIMEOUT = 30


def create_app(
    config: WebConfig,
    gate: Gate,
    pool: Pool,
    hub: Readiness,
    *streams: Blueprint,
    revocations: Revocations | None = None,
    refusals: Refusals | None = None,
    clock: Clock | None = None,
) -> Quart:
    """The app that serves rows over `pool` and streams from `hub` to whom `gate` lets in; both must be open while it serves.

    `revocations`: of the tokens that `gate` looks at; None if auth is off.
    """
    clock = clock or SystemClock()
    app = App(__name__)
    app.request_class = DrainedRequest
    app.config["MAX_CONTENT_LENGTH"] = config.body_bytes or None
    app.config["BODY_TIMEOUT"] = BODY_TIMEOUT
    app.config["RESPONSE_TIMEOUT"] = None  # who takes nothing is cut by rowcast.connections; who is slow gets all
    register_problems(app, refusals or Refusals(clock))
    app.after_request(_drain)
    harden(app, config.cors_origins)
    put_gate(app, gate)

    inbox, ids = Inbox(pool, timeout=config.caps.query_timeout), config.user_id_type
    app.register_blueprint(notifications_blueprint(inbox, ids))
    app.register_blueprint(users_blueprint(inbox, ids))
    app.register_blueprint(session_blueprint(ids, gate))
    app.register_blueprint(revocations_blueprint(revocations, ids))
    app.register_blueprint(compat_blueprint(inbox, ids))
    parts = (hub, revocations) if revocations else (hub,)
    app.register_blueprint(health_blueprint(inbox, *parts, clock=clock))
    app.register_blueprint(pages_blueprint(ids, locked=gate.locked))
    for blueprint in streams:
        app.register_blueprint(blueprint)
    return app


async def _drain(response: Response) -> Response:
    if response.status_code >= HTTPStatus.BAD_REQUEST and isinstance(request.body, DrainedBody):
        await request.body.drain()
    return response
