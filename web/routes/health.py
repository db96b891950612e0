"""/healthz: the process lives. /readyz: it is fit to serve, by a real query and by what it hears from the bridge."""

from __future__ import annotations

import asyncio
from typing import Protocol

from quart import Blueprint, Response

from core.errors import RowcastError
from db.inbox import Inbox
from web.answers import json_value
from web.problems import unavailable

LONGEST = 1.0  # seconds

OK = "ok"


class Readiness(Protocol):
    """What the hub knows of its own health."""

    def ready(self) -> dict[str, str | None]:
        """What keeps it from being fit to serve, by part; None for nothing."""


def health_blueprint(inbox: Inbox, hub: Readiness) -> Blueprint:
    """The two routes that an orchestrator asks."""
    blueprint = Blueprint("health", __name__)

    @blueprint.get("/healthz")
    async def healthz() -> Response:
        return json_value({"status": OK})

    @blueprint.get("/readyz")
    async def readyz() -> Response:
        postgres = None if await _answers(inbox) else "Postgres did not answer a query within a second."
        checks = {part: wrong or OK for part, wrong in {"postgres": postgres, **hub.ready()}.items()}
        if set(checks.values()) == {OK}:
            return json_value({"status": OK, "checks": checks})
        return _unready(checks)

    return blueprint


def _unready(checks: dict[str, str]) -> Response:
    problem = unavailable(" ".join(reason for reason in checks.values() if reason != OK))
    problem.members["checks"] = checks
    return problem.response()


async def _answers(inbox: Inbox) -> bool:
    try:
        async with asyncio.timeout(LONGEST):
            await inbox.check()
    except (RowcastError, TimeoutError):
        return False
    return True
