"""The doorbell's ear: whoever counts on the bell being heard can."""

from __future__ import annotations

import pytest
from psycopg.conninfo import conninfo_to_dict

from bridge import listener as module
from bridge.bell import Bell
from bridge.listener import Listener
from core.clock import SystemClock
from db import connect
from db.connect import Connection, listen
from tests.clocks import QuickClock
from tests.waiting import running, until
from tests.wire import wire


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


async def test_a_listening_session_that_is_cut_off_in_silence_is_replaced(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rule 2.1: it is pinged, since a half-open link shows no other way; and the new one rings."""
    monkeypatch.setattr(module, "PING_EVERY", 0.05)
    monkeypatch.setattr(connect, "PING_TIMEOUT", 0.2)
    bell = Bell()
    async with wire(url_of(database)) as link, running(Listener(link.url, bell, QuickClock()).run()):
        await until(lambda: bell.connected)
        assert bell.take()
        link.black_hole()
        await until(lambda: not bell.connected)
        link.heal()
        await until(lambda: bell.connected and bell.rung)


def url_of(database: str) -> str:
    """Of a libpq string."""
    parts = conninfo_to_dict(database)
    return "postgresql://{user}:{password}@{host}:{port}/{dbname}".format_map(parts)
