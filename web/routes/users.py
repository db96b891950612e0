"""/users: what a user has viewed."""

from __future__ import annotations

from quart import Blueprint, Response

from core.user_ids import UserIdType
from db.inbox import Inbox
from web.answers import json_value
from web.auth.asking import require
from web.auth.caller import Scope
from web.auth.rules import require_own
from web.body import json_body
from web.models import ViewedUpTo, parse
from web.params import refuse_broken_url


def users_blueprint(inbox: Inbox, ids: UserIdType) -> Blueprint:
    """The users of `inbox`, whose ids are of the type `ids`."""
    blueprint = Blueprint("users", __name__, url_prefix="/users")
    blueprint.before_request(refuse_broken_url)

    @blueprint.post("/<anything:user_id>/viewed")
    async def viewed(user_id: str) -> Response:
        caller, user = require(Scope.VIEW), ids.canonical(user_id)
        require_own(caller, user)
        value, _ = await json_body()
        wanted = parse(ViewedUpTo, value, ids)
        return json_value({"unread": await inbox.mark_up_to(user, wanted.up_to)})

    return blueprint
