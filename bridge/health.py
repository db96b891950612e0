"""GET /healthz and /readyz of the bridge, for --health-bind."""

from __future__ import annotations

from typing import Any

from quart import Quart

from bridge.service import Bridge


def health_app(bridge: Bridge) -> Quart:
    """/healthz: 200 while the process is alive. /readyz: 200 if it leads or stands by as it should, else 503 with what is wrong."""
    app = Quart("rowcast_bridge")

    @app.get("/healthz")
    async def healthz() -> dict[str, Any]:
        return {"status": "ok", "role": bridge.role}

    @app.get("/readyz")
    async def readyz() -> tuple[dict[str, Any], int]:
        checks = bridge.ready()
        fine = all(state == "ok" for state in checks.values())
        return {"status": "ok" if fine else "unavailable", "role": bridge.role, "checks": checks}, 200 if fine else 503

    return app
