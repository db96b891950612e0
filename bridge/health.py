"""GET /healthz, /readyz and /metrics of the bridge, for --health-bind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from quart import Quart, Response
from werkzeug.exceptions import HTTPException

from bridge.leader import OK
from bridge.service import Bridge, Role

_FAILED = "The bridge failed to answer, and its log says why. This is a bug: please report it."


def health_app(bridge: Bridge) -> Quart:
    """/healthz: 200 while the process is alive. /readyz: 200 if it leads or stands by as it should, else 503 with what is wrong.

    /metrics: the same in the text form that Prometheus reads. Errors are problem+json (RFC 9457).
    """
    app = Quart("rowcast_bridge")
    registry = CollectorRegistry()
    registry.register(_State(bridge))

    @app.get("/healthz")
    async def healthz() -> dict[str, Any]:
        return {"status": "ok", "role": bridge.role}

    @app.get("/readyz")
    async def readyz() -> tuple[dict[str, Any], int]:
        checks = bridge.ready()
        fine = all(state == OK for state in checks.values())
        return {"status": "ok" if fine else "unavailable", "role": bridge.role, "checks": checks}, 200 if fine else 503

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(
            generate_latest(registry), content_type=CONTENT_TYPE_LATEST, headers={"Cache-Control": "no-store"}
        )

    app.register_error_handler(HTTPException, _problem)
    return app


class _State(Collector):
    """What the bridge is doing, when asked."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge

    def collect(self) -> Iterator[GaugeMetricFamily]:
        leading = GaugeMetricFamily("rowcast_leading", "1 while this bridge leads, 0 while it stands by or connects.")
        leading.add_metric([], self._bridge.role is Role.LEADER)
        yield leading
        checks = GaugeMetricFamily("rowcast_check", "1 for what /readyz finds as it should be.", labels=["check"])
        for name, state in self._bridge.ready().items():
            checks.add_metric([name], state == OK)
        yield checks


def _problem(error: HTTPException) -> Response:
    status = HTTPStatus(error.code or HTTPStatus.INTERNAL_SERVER_ERROR)
    failed = status >= HTTPStatus.INTERNAL_SERVER_ERROR
    detail = _FAILED if failed else "This is a bridge: it answers GET /healthz, /readyz and /metrics, and nothing else."
    problem = {"type": "about:blank", "title": status.phrase, "status": status, "detail": detail}
    headers = dict(error.get_headers()) | {"Content-Type": "application/problem+json", "Cache-Control": "no-store"}
    return Response(json.dumps(problem, separators=(",", ":")), status, headers=headers)
