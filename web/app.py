"""The Quart app: resources, streams and pages over one pool and one hub. Nothing is started here."""

from __future__ import annotations

from http import HTTPStatus

from quart import Blueprint, Quart, Response, request
from werkzeug.routing import BaseConverter

from db.inbox import Inbox, Pool
from web.config import WebConfig
from web.incoming import DrainedBody, DrainedRequest
from web.problems import register_problems
from web.routes.compat import compat_blueprint
from web.routes.health import Readiness, health_blueprint
from web.routes.notifications import notifications_blueprint
from web.routes.pages import pages_blueprint
from web.routes.users import users_blueprint


class _Anything(BaseConverter):
    """`<anything:name>`: one or more characters of any kind, slashes included (a text id or a key may hold them)."""

    regex = r"[\s\S]+"
    part_isolating = False


def create_app(config: WebConfig, pool: Pool, hub: Readiness, *streams: Blueprint) -> Quart:
    """The app that serves rows over `pool` and streams from `hub`; both must be open while it serves."""
    app = Quart(__name__, static_folder=None)
    app.request_class = DrainedRequest
    app.config["MAX_CONTENT_LENGTH"] = config.body_bytes or None
    app.url_map.converters["anything"] = _Anything
    app.url_map.merge_slashes = False  # /read/a%2F%2Fb is a key, not a path to be tidied
    register_problems(app)
    app.after_request(_guard)

    inbox, ids = Inbox(pool), config.user_id_type
    app.register_blueprint(notifications_blueprint(inbox, ids))
    app.register_blueprint(users_blueprint(inbox, ids))
    app.register_blueprint(compat_blueprint(inbox, ids))
    app.register_blueprint(health_blueprint(inbox, hub))
    app.register_blueprint(pages_blueprint(ids))
    for blueprint in streams:
        app.register_blueprint(blueprint)
    return app


async def _guard(response: Response) -> Response:
    if response.status_code >= HTTPStatus.BAD_REQUEST and isinstance(request.body, DrainedBody):
        await request.body.drain()
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
