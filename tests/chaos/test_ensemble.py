"""The ensemble stands, its wires carry what they are named for, and what dies runs again at the same place."""

from __future__ import annotations

import signal

import httpx
import pytest

from tests.chaos.ensemble import ensemble
from tests.event_source import open_stream


@pytest.mark.slow
async def test_rows_go_through_it_by_way_of_its_wires_and_processes_come_back_at_their_places() -> None:
    async with ensemble() as e:
        assert [place.name for place in e.places.values()] == ["bridge0", "bridge1", "web0", "web1"]
        leader = await e.leader()
        assert leader is not None
        async with open_stream(f"{e.client_urls[1]}/events/1") as stream:
            await stream.live()
            await e.rig.insert(1, "one")
            await stream.receives("one")
            unused = {"clients-web0"} | {f"{bridge.name}-redis" for bridge in e.bridges if bridge is not leader}
            assert {name for name in e.shape.wires if not e.wires[name].opened} <= unused
            await leader.kill()
            with pytest.raises(AssertionError, match=f"{leader.name} is not running"):
                await e.quiet()
            await leader.start()
            await e.webs[1].kill()
            await e.webs[1].start()
            assert await e.quiet() < 60
            await e.rig.insert(1, "two")
            await stream.receives("one", "two")
        for web in e.webs:
            await web.stop()
            with pytest.raises(httpx.ConnectError):
                httpx.get(f"{web.url}/healthz", trust_env=False)
        e.bridges[0].freeze()
        e.bridges[0].thaw()
        e.bridges[0].process.send(signal.SIGTERM)
        assert await e.bridges[0].ended(within=15)
        assert len(e.webs[1].awake(settles=0)) == 2
