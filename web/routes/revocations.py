"""/revocations: tokens that are to be refused from now on, though they have not expired."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Protocol

import structlog
from quart import Blueprint, Response

from core.user_ids import UserIdType
from db.revocations import Revocation
from web import models
from web.answers import json_value
from web.auth.asking import require
from web.auth.caller import Scope
from web.body import json_body
from web.models import parse
from web.params import refuse_broken_url
from web.problems import bad_request, not_found

_log = structlog.get_logger("web")


class Revoker(Protocol):
    """See web.auth.revocations."""

    async def revoke(
        self, *, user_id: str | None = None, token_id: str | None = None, expires_at: float | None = None
    ) -> Revocation:
        """Revoke one of both."""


def revocations_blueprint(revoker: Revoker | None, ids: UserIdType) -> Blueprint:
    """The route of a server whose user ids are of the type `ids`; without a revoker, auth is off."""
    blueprint = Blueprint("revocations", __name__, url_prefix="/revocations")
    blueprint.before_request(refuse_broken_url)

    @blueprint.post("")
    async def create() -> Response:
        admin = require(Scope.ADMIN)
        if revoker is None:
            raise not_found("Auth is off on this server: it takes no tokens, so there are none to revoke.")
        value, _ = await json_body()
        wanted = parse(models.Revocation, value, ids)
        if bool(wanted.user) == bool(wanted.token):
            raise bad_request(
                "The body must have one of 'user', for all tokens that this user has by now, and 'token', for the one with that jti."
            )
        revocation = await revoker.revoke(
            user_id=wanted.user or None, token_id=wanted.token or None, expires_at=wanted.expires_at
        )
        _log.info("web.revoked", by=admin.user_id, user=revocation.user_id, token_id=revocation.token_id)
        return json_value(_said(revocation, ids))

    return blueprint


def _said(revocation: Revocation, ids: UserIdType) -> dict[str, Any]:
    user_id = revocation.user_id
    what: dict[str, Any] = (
        {"token": revocation.token_id}
        if user_id is None
        else {"user": int(user_id) if ids is UserIdType.BIGINT else user_id}
    )
    revoked_at = datetime.fromtimestamp(revocation.revoked_at, UTC).isoformat(timespec="milliseconds")
    what["revoked_at"] = revoked_at.replace("+00:00", "Z")
    return what if revocation.expires_at is None else what | {"expires_at": revocation.expires_at}
