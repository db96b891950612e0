"""The doorbell's ear: whoever counts on the bell being heard can."""

from __future__ import annotations

import pytest

from bridge import listener as module
from bridge.bell import Bell
from bridge.listener import Listener
from core.clock import SystemClock
from db.connect import Connection, listen
from tests.waiting import running, until


async def test_the_bell_is_counted_on_only_once_listen_is_committed(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rule 6.1: LISTEN is committed before *waiting* is set, which takes a bell that is heard."""
    bell = Bell()
    counted_on: list[bool] = []

    async def listen_and_look(connection: Connection) -> None:
        counted_on.append(bell.connected or bell.rung)
        await listen(connection)
        counted_on.append(bell.connected or bell.rung)

    monkeypatch.setattr(module, "listen", listen_and_look)
    async with running(Listener(database, bell, SystemClock()).run()):
        await until(lambda: bell.connected)
    assert counted_on == [False, False]
