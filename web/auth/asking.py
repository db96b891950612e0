"""The gate in Quart: nobody gets past it, and a route asks here who it is."""

from __future__ import annotations

from typing import cast

from hypercorn.typing import HTTPScope
from quart import Quart, g, request

from web.auth.caller import Caller, Scope
from web.auth.gate import Gate
from web.auth.rules import require_scope


def put_gate(app: Quart, gate: Gate) -> None:
    """Before every request of `app`, those that no route answers included."""

    async def settle() -> None:
        g.caller = await gate.admit(cast(HTTPScope, request.scope))

    app.before_request(settle)


def caller() -> Caller:
    """Who makes this request."""
    found: Caller = g.caller
    return found


def require(scope: Scope) -> Caller:
    """Who makes this request, who has that scope; a 403 for others."""
    require_scope(caller(), scope)
    return caller()
