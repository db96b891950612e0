"""A cap that is reached is counted each time and told once a minute."""

from __future__ import annotations

import asyncio

from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from tests.clocks import QuickClock
from web.refusals import QUIET, Cap, Refusals


async def test_the_log_names_a_cap_at_once_and_then_once_a_minute_with_a_count() -> None:
    clock, registry = QuickClock(), CollectorRegistry()
    refusals = Refusals(clock, registry)
    with capture_logs() as logs:
        for _ in range(1000):
            refusals.count(Cap.CONNECTIONS)
        refusals.count(Cap.BODY_BYTES)
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(refusals.run())
            started = clock.now()
            while clock.now() < started + 3 * QUIET:
                await asyncio.sleep(0)
            refusals.count(Cap.CONNECTIONS)
            running.cancel()
    told = [(log["event"], log["cap"], log["count"]) for log in logs]
    assert told == [
        ("limit.reached", "connections", 1),
        ("limit.reached", "body_bytes", 1),
        ("limit.reached", "connections", 999),
        ("limit.reached", "connections", 1),
    ]
    assert registry.get_sample_value("rowcast_refusals_total", {"cap": "connections"}) == 1001
    assert registry.get_sample_value("rowcast_refusals_total", {"cap": "streams_per_user"}) == 0
