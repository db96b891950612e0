"""/healthz: the process lives. /readyz: it is fit to serve, by a real query and by what it hears from the bridge."""

from __future__ import annotations

import asyncio
import math
from typing import Protocol

from quart import Blueprint, Response

from core.clock import Clock
from core.errors import RowcastError
from db.inbox import Inbox
from web.answers import json_value
from web.problems import unavailable

LONGEST = 1.0  # seconds
FRESH = 0.2  # seconds that one answer of Postgres stands for

OK = "ok"


class Readiness(Protocol):
    """What a part knows of its own health."""

    def ready(self) -> dict[str, str | None]:
        """What keeps it from being fit to serve, by part; None for nothing."""


class _Postgres:
    """Does it answer? Asked once for all who want to know at the same time, and a yes is believed for FRESH: a flood costs one session."""

    def __init__(self, inbox: Inbox, clock: Clock) -> None:
        self._inbox = inbox
        self._clock = clock
        self._asking = asyncio.Lock()
        self._answered = False
        self._at = -math.inf

    async def answers(self) -> bool:
        came = self._clock.now()
        async with self._asking:
            if self._at < (came - FRESH if self._answered else came):
                self._answered = await _answers(self._inbox)
                self._at = self._clock.now()
            return self._answered


def health_blueprint(inbox: Inbox, *parts: Readiness, clock: Clock) -> Blueprint:
    """The two routes that an orchestrator asks."""
    shared = _Postgres(inbox, clock)
    blueprint = Blueprint("health", __name__)

    @blueprint.get("/healthz")
    async def healthz() -> Response:
        return json_value({"status": OK})

    @blueprint.get("/readyz")
    async def readyz() -> Response:
        postgres = None if await shared.answers() else "Postgres did not answer a query within a second."
        found = {"postgres": postgres}
        for part in parts:
            found |= part.ready()
        checks = {name: wrong or OK for name, wrong in found.items()}
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
