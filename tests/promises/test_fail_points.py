"""Every fail point is where it says: a running Rowcast passes each of them."""

from __future__ import annotations

import json
import signal

import pytest

from core.fail_points import Point
from tests.event_source import open_stream
from tests.rig import Process, Rig
from tests.waiting import until

LARGE = "x" * (1 << 20)


@pytest.mark.slow
async def test_every_point_is_reached_between_a_start_and_an_end(own: Rig) -> None:
    own.settings["fail_points"] = ",".join(f"{point}=pause:0" for point in Point)
    bridge = await own.bridge()
    url, web = await own.web()
    async with open_stream(f"{url}/events/1", reconnect=False) as stream:
        await stream.live()
        async with own.sql() as sql:  # one range of more than one piece
            await sql.execute(
                "INSERT INTO notifications (user_id, message) SELECT 1, %s FROM generate_series(1, 3)", (LARGE,)
            )
        await stream.receives(LARGE, LARGE, LARGE)
        web.send(signal.SIGTERM)
        assert await web.ended(timeout=5) == 0
    bridge.send(signal.SIGTERM)
    assert await bridge.ended(timeout=5) == 0
    parts = {"bridge": bridge, "web": web}
    assert reached(bridge) | reached(web) == set(Point)
    for part, process in parts.items():
        assert process.log.count("fail_points.armed") == 1
        others = {point for point in Point if point.startswith(("bridge.", "web.")) and not point.startswith(part)}
        assert not reached(process) & others


@pytest.mark.slow
async def test_what_carries_no_rows_is_no_pass(own: Rig) -> None:
    """So that @3 means the third batch of rows, however many heartbeats came between."""
    bridge = await own.bridge(fail_points="bridge.sent=pause:0,bridge.claimed=pause:0")
    url, web = await own.web()
    async with open_stream(f"{url}/events/1") as stream:
        await stream.live()
        assert not reached(bridge)
        await own.insert(1, "first")
        await stream.receives("first")
        await until(lambda: reached(bridge) == {Point.CLAIMED, Point.SENT})  # its log may be read later than the stream
    assert "fail_points.armed" not in web.log


def reached(process: Process) -> set[str]:
    """The points in the process's log."""
    entries = [json.loads(line) for line in process.log.splitlines() if line.startswith("{")]
    return {entry["point"] for entry in entries if entry["event"] == "fail_point.reached"}
