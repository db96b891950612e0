"""Terms of leadership: a log that went back is noticed before a number is given twice, and a position it has lost is known for one."""

from __future__ import annotations

from typing import LiteralString

import pytest

from core.events import Range
from db.connect import Connection, DatabaseConfig, open_pool
from db.history import History
from db.outbox import NOTHING_HELD, SOURCES, LogMovedError, claim, start_term, term_due
from tests.db.rows import in_order, insert

[NOTIFICATIONS] = SOURCES


async def take(bridge: Connection, end: int) -> Range | None:
    return (await claim(bridge, NOTIFICATIONS, NOTHING_HELD, batch=10, log_end=end)).stamped


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE rowcast.state SET last_seq = last_seq - 1",
        "UPDATE rowcast.state SET last_seq = last_seq + 1",
        "SELECT setval('rowcast.seq', last_seq - 1) FROM rowcast.state",
        "DELETE FROM rowcast.state",
    ],
)
async def test_a_log_that_moved_under_a_leader_is_not_stamped(
    bridge: Connection, other: Connection, change: LiteralString
) -> None:
    """Numbers that were given since the dump was made would be given again, to other rows."""
    end = (await start_term(bridge)).end
    await insert(other, 1)
    span = await take(bridge, end)
    assert span is not None
    await other.execute(change)
    await insert(other, 1)
    with pytest.raises(LogMovedError):
        await take(bridge, span.end)
    assert await in_order(other) == [1]


async def test_a_sequence_that_is_ahead_is_no_harm(bridge: Connection, other: Connection) -> None:
    """A claim that was rolled back has taken from it."""
    end = (await start_term(bridge)).end
    await other.execute("SELECT nextval('rowcast.seq')")
    await insert(other, 1)
    assert await take(bridge, end) == Range(end, end + 2)


async def rejoin(database: str, after: int) -> int | None:
    """Where the log goes on for a stream with that position; the same for a bucket of streams."""
    async with open_pool(DatabaseConfig(database), name="web") as pool:
        history = History(pool)
        page = await history.replay("1", after=after, upto=None)
        assert (await history.reread(["1"], after=after, upto=None)).rejoin == page.rejoin
    return page.rejoin


async def test_a_position_between_two_terms_is_none_of_this_logs(
    database: str, bridge: Connection, other: Connection
) -> None:
    """Every other is: each seq, each end of a range, each start of a term, and what is above all of them."""
    first = await start_term(bridge)
    await insert(other, 1, 1)
    span = await take(bridge, first.end)
    assert span is not None
    second = await start_term(bridge)
    assert second.start == span.end == first.end + 2
    for position in (0, first.end, first.end + 1, span.end, second.end, second.end + 1, 2**63 - 1):
        assert await rejoin(database, position) is None
    for position in (1, first.end - 1):
        assert await rejoin(database, position) == first.end
    for position in (span.end + 1, second.end - 1):
        assert await rejoin(database, position) == second.end


async def test_a_position_of_a_tail_that_was_lost_is_known_for_one(
    database: str, bridge: Connection, other: Connection
) -> None:
    """A whole term of it, too, and also if the table of terms did not go back with the log."""
    first = await start_term(bridge)
    await insert(other, 1)
    await take(bridge, first.end)
    lost = await start_term(bridge)
    await insert(other, 1)
    heard = await take(bridge, lost.end)
    assert heard is not None
    await other.execute("DELETE FROM notifications WHERE seq > %s", (lost.end,))
    await other.execute("UPDATE rowcast.state SET last_seq = %s", (first.end + 1,))
    again = await start_term(bridge)
    assert again.start == first.end + 1
    assert again.end > heard.end
    for position in (lost.end, heard.end):
        assert await rejoin(database, position) == again.end
    assert await rejoin(database, first.end + 1) is None
    terms = await other.execute("SELECT start, ended FROM rowcast.terms ORDER BY start")
    assert await terms.fetchall() == [(first.end, 0), (again.end, first.end + 1)]


async def test_what_its_bridge_knows_to_be_given_is_not_given_again(bridge: Connection) -> None:
    """Also in the same second, and whatever log, sequence and clock say by then."""
    assert (await start_term(bridge, above=9000000000000123)).end == 9000000001000000


async def test_no_term_runs_ahead_of_the_clock(bridge: Connection, other: Connection) -> None:
    """Else one is begun again where its start was lost. A clock that was set back is not waited for."""
    assert await term_due(bridge) == 0
    await start_term(bridge)
    assert 0 < await term_due(bridge) <= 1
    await other.execute("UPDATE rowcast.state SET last_seq = last_seq + 3600000000")
    assert await term_due(bridge) == 0


async def test_terms_that_were_pruned_are_forgotten(database: str, bridge: Connection, other: Connection) -> None:
    for _ in range(3):
        span = await start_term(bridge)
    await other.execute("SELECT rowcast.forget(%s)", (span.start,))
    await start_term(bridge)
    counted = await other.execute("SELECT count(*) FROM rowcast.terms")
    assert await counted.fetchone() == (2,)
