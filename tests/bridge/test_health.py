"""What a bridge answers on --health-bind, beside what tests/promises/test_readiness.py sees of it under faults."""

from __future__ import annotations

import re

import pytest

from bridge.config import BridgeConfig
from bridge.health import health_app
from bridge.service import Bridge, Role
from fanout.connection import RedisConfig
from tests.clocks import HandClock
from tests.parts import ROOT


@pytest.fixture
def bridge() -> Bridge:
    """One that never ran."""
    return Bridge(BridgeConfig("postgresql://nowhere"), RedisConfig("redis://nowhere"), "rowcast", HandClock())


async def test_metrics_tell_who_leads_and_what_is_not_as_it_should_be(bridge: Bridge) -> None:
    client = health_app(bridge).test_client()
    answer = await client.get("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    text = await answer.get_data(as_text=True)
    assert "\nrowcast_leading 0.0\n" in text
    assert '\nrowcast_check{check="postgres"} 0.0\n' in text
    page = (ROOT / "docs" / "deployment.md").read_text("utf-8")
    assert all(f"`{name}" in page for name in re.findall(r"^# TYPE (\w+)", text, re.MULTILINE))
    bridge.role = Role.LEADER
    assert "\nrowcast_leading 1.0\n" in await (await client.get("/metrics")).get_data(as_text=True)


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/", 404), ("POST", "/readyz", 405)])
async def test_errors_say_what_a_bridge_answers(bridge: Bridge, method: str, path: str, status: int) -> None:
    client = health_app(bridge).test_client()
    answer = await (client.get if method == "GET" else client.post)(path)
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert "/healthz, /readyz and /metrics" in (await answer.get_json(force=True))["detail"]
    assert ("Allow" in answer.headers) == (status == 405)
