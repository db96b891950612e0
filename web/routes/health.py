"""/healthz: the process lives. /readyz: it is fit to serve, by a real query and by what it hears from the bridge."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
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

    def connected(self) -> bool:
        """Every channel wanted is subscribed, confirmed by Redis."""

    def fresh(self) -> bool:
        """The same, and each bucket has had a mark of the bridge in the last 3 s."""


def health_blueprint(inbox: Inbox, hub: Readiness) -> Blueprint:
    """The two routes that an orchestrator asks."""
    blueprint = Blueprint("health", __name__)
    probe = _Probe(inbox)
    blueprint.while_app_serving(probe.serve)

    @blueprint.get("/healthz")
    async def healthz() -> Response:
        return json_value({"status": OK})

    @blueprint.get("/readyz")
    async def readyz() -> Response:
        checks = {
            "postgres": OK if await probe.answered() else "Postgres did not answer a query within a second.",
            "redis": OK if hub.connected() else "Redis has not confirmed the subscriptions.",
            "marks": OK
            if hub.fresh()
            else "No mark of the bridge was heard in the last 3 seconds: is a bridge running?",
        }
        if set(checks.values()) == {OK}:
            return json_value({"status": OK, "checks": checks})
        return _unready(checks)

    return blueprint


def _unready(checks: dict[str, str]) -> Response:
    problem = unavailable(" ".join(reason for reason in checks.values() if reason != OK))
    problem.members["checks"] = checks
    return problem.response()


class _Probe:
    """At most one query at a time, in a task of its own: giving up on a frozen Postgres takes the driver longer than we may take."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._tasks: asyncio.TaskGroup | None = None
        self._running: asyncio.Task[bool] | None = None

    async def serve(self) -> AsyncGenerator[None, None]:
        """Own the task while the app serves."""
        async with asyncio.TaskGroup() as self._tasks:
            yield
            if self._running is not None:
                self._running.cancel()
                await asyncio.wait({self._running}, timeout=LONGEST)
                self._running.cancel()  # the second time the driver drops the connection at once

    async def answered(self) -> bool:
        """Whether Postgres answers within a second from now."""
        if self._tasks is None:
            raise RuntimeError("The app is not serving yet.")
        if self._running is None or self._running.done():
            self._running = self._tasks.create_task(self._ask(), name="readiness of Postgres")
        done, _ = await asyncio.wait({self._running}, timeout=LONGEST)
        return bool(done) and self._running.result()

    async def _ask(self) -> bool:
        try:
            await self._inbox.check()
        except RowcastError:
            return False
        return True
