"""/metrics: the counters of this process, in the text form that Prometheus reads."""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest
from quart import Blueprint, Response

from web.auth.asking import require
from web.auth.caller import Scope
from web.hub import Hub


def show_streams(registry: CollectorRegistry, hub: Hub) -> None:
    """Have the registry tell how many streams are open."""
    Gauge("rowcast_streams", "Streams that are open.", registry=registry).set_function(lambda: hub.streams)


def metrics_blueprint(registry: CollectorRegistry) -> Blueprint:
    """The route over all that was registered there."""
    blueprint = Blueprint("metrics", __name__)

    @blueprint.get("/metrics")
    async def metrics() -> Response:
        require(Scope.ADMIN)
        return Response(
            generate_latest(registry), content_type=CONTENT_TYPE_LATEST, headers={"Cache-Control": "no-store"}
        )

    return blueprint
