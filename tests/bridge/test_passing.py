"""While a long backlog is stamped, users who have nothing in it don't wait for its end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from bridge import passing as passing_module
from bridge import stamper as module
from bridge.batch import BatchSize
from bridge.passing import Passing
from bridge.stamper import Stamper
from core.clock import SystemClock
from core.events import Range
from db import backlog as backlog_module
from db.connect import Connection
from db.outbox import Source, start_term
from tests.db.rows import EVERYONE, in_order, insert


class Taker:
    """Takes ranges, and does something after each."""

    def __init__(self, then: Callable[[int], Awaitable[None]]) -> None:
        self.spans: list[Range] = []
        self.kept = 0
        self._then = then

    async def stamped(self, source: Source, span: Range) -> None:
        self.spans.append(span)
        await self._then(len(self.spans))

    async def kept_up(self) -> None:
        self.kept += 1


async def stamp_all(claiming: Connection, taker: Taker, *, batch: int = 10) -> None:
    stamper = Stamper(claiming, taker, SystemClock(), BatchSize(batch), (await start_term(claiming)).end)
    while (await stamper.stamp_once()).more:
        pass


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog_module, "TAIL_ROWS", 10)


async def place(sql: Connection, user: int) -> list[int]:
    """Where the log has the rows of that user, counted from its start."""
    rows = await sql.execute("SELECT user_id FROM notifications WHERE seq IS NOT NULL ORDER BY seq")
    return [number for number, (found,) in enumerate(await rows.fetchall()) if found == user]


async def many(sql: Connection, rows: int, user: int | None = 1) -> None:
    await sql.execute(
        "INSERT INTO notifications (user_id, message) SELECT %s, 'old' FROM generate_series(1, %s)", (user, rows)
    )


async def test_rows_of_others_pass_a_long_backlog(claiming: Connection, sql: Connection) -> None:
    """Each within two claims from the old end; all ranges join up, and what is stamped too early is waited for."""

    async def insert_others(ranges: int) -> None:
        if ranges == 10:
            await insert(sql, 2, 1, 2)
        if ranges == 20:
            await insert(sql, 3)

    taker = Taker(insert_others)
    await many(sql, 500)
    await stamp_all(claiming, taker)
    assert (await place(sql, 2))[-1] < 150
    assert (await place(sql, 3))[0] < 250
    assert len(await in_order(sql)) == 504
    assert all(span.start == before.end for before, span in zip(taker.spans, taker.spans[1:], strict=False))
    assert taker.kept >= 50 - module.LONG


async def test_a_short_backlog_is_not_looked_at(
    claiming: Connection, sql: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = await _counted(claiming, sql, monkeypatch, rows=10 * module.LONG - 1)
    assert looks == 0


async def test_nobody_passes_a_backlog_for_everyone(claiming: Connection, sql: Connection) -> None:
    async def insert_another(ranges: int) -> None:
        if ranges == 5:
            await insert(sql, 2)

    await many(sql, 100, EVERYONE)
    await stamp_all(claiming, Taker(insert_another))
    assert await place(sql, 2) == [100]


async def test_who_is_in_the_backlog_passes_once_it_is_looked_at_again(
    claiming: Connection, sql: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows of user 2 are the oldest of it; their next one does not wait for the rest."""
    monkeypatch.setattr(passing_module, "LOOK_EVERY", 0.0)
    monkeypatch.setattr(passing_module, "SHARE", 1e9)

    async def insert_another(ranges: int) -> None:
        if ranges == 10:
            await insert(sql, 2)

    await many(sql, 20, 2)
    await many(sql, 500)
    await stamp_all(claiming, Taker(insert_another))
    assert (await place(sql, 2))[-1] < 200


async def test_a_backlog_that_nobody_waits_for_is_looked_at_once(
    claiming: Connection, sql: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog_module, "TAIL_ROWS", 0)
    assert await _counted(claiming, sql, monkeypatch, rows=500) == 1


async def _counted(claiming: Connection, sql: Connection, monkeypatch: pytest.MonkeyPatch, *, rows: int) -> int:
    """How often the backlog was looked at."""
    looks = 0
    real = Passing._look

    async def counted(self: Passing) -> backlog_module.Backlog:
        nonlocal looks
        looks += 1
        return await real(self)

    async def nothing(_: int) -> None:
        return

    monkeypatch.setattr(Passing, "_look", counted)
    await many(sql, rows)
    await stamp_all(claiming, Taker(nothing))
    return looks
