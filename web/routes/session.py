"""/session: a Bearer token becomes a cookie, so that a browser's EventSource, which can send no header, needs no token in its URL."""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, cast

from hypercorn.typing import HTTPScope
from quart import Blueprint, Response, request

from core.user_ids import UserIdType
from web.answers import json_value
from web.auth import asking
from web.auth.caller import Caller, Scope
from web.auth.gate import Gate
from web.auth.headers import COOKIE, Asked
from web.problems import bad_request

# RFC 6265 section 6.1: what every browser takes, name and attributes included.
LONGEST = 4096
# `__Host-` has browsers refuse it with a Domain, with another Path, or without Secure: no other host can set it.
_ATTRIBUTES = "Path=/; Secure; HttpOnly; SameSite=Strict"


def session_blueprint(ids: UserIdType, gate: Gate) -> Blueprint:
    """The session of a server whose user ids are of the type `ids`."""
    blueprint = Blueprint("session", __name__, url_prefix="/session")

    @blueprint.get("")
    async def who() -> Response:
        return json_value(_said(asking.caller(), ids))

    @blueprint.post("")
    async def begin() -> Response:
        credential = Asked.of(cast(HTTPScope, request.scope)).credential() if gate.locked else None
        if credential is None:
            raise bad_request("Auth is off on this server: there is no token to make a session of, and none is needed.")
        caller = asking.caller()
        response = json_value(_said(caller, ids))
        response.headers["Set-Cookie"] = _cookie(credential.token, gate.seconds_left(caller))
        return response

    @blueprint.delete("")
    async def end() -> Response:
        return Response(status=HTTPStatus.NO_CONTENT, headers={"Set-Cookie": _cookie("", 0)})

    return blueprint


def _cookie(token: str, lifetime: int | None) -> str:
    cookie = f"{COOKIE}={token}; {_ATTRIBUTES}" + ("" if lifetime is None else f"; Max-Age={lifetime}")
    if len(cookie) > LONGEST:
        raise bad_request(
            f"This token is {len(token)} bytes long, and browsers keep no cookie of more than {LONGEST} bytes. Use one with fewer claims."
        )
    return cookie


def _said(caller: Caller, ids: UserIdType) -> dict[str, Any]:
    user_id = caller.user_id
    return {
        "user_id": int(user_id) if ids is UserIdType.BIGINT and user_id is not None else user_id,
        "scope": " ".join(scope for scope in Scope if caller.may(scope)),
        "expires_at": None if caller.expires_at is None else _time(caller.expires_at),
    }


def _time(seconds: float) -> str | None:
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (OverflowError, OSError, ValueError):  # beyond the year 9999
        return None
