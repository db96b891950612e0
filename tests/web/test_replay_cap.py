"""A backlog of more rows than one connection may have: the newest come, after a `reset` that says so, and nothing else is left out."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator

import pytest

from db import history
from rowcast.embedded import Server
from tests.db.databases import Databases
from tests.web.air import Air, Reader, open_air
from tests.web.served import serving
from web.config import Caps, WebConfig
from web.refusals import Cap
from web.stream import Since

MOST = 4
CAPPED = WebConfig(caps=Caps(replay_rows=MOST))


@pytest.fixture
async def air(databases: Databases, valkey: Server) -> AsyncIterator[Air]:
    with databases.migrated() as url:
        async with open_air(url, valkey.url) as made:
            yield made


@pytest.fixture(params=[2, 500], ids=["many pages", "one page"])
def page(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(history._LIMITS, "page", request.param)


def resets(reader: Reader) -> list[tuple[str, int, int]]:
    """Of each: the reason, the oldest row there is, and the position that it sets."""
    told = [(json.loads(event.data), int(event.last_event_id)) for event in reader.of_type("reset")]
    return [(data["reason"], data["oldest"], seq) for data, seq in told]


async def greeted(reader: Reader) -> None:
    async with asyncio.timeout(10):
        await reader.until_hello()


@pytest.mark.usefixtures("page")
@pytest.mark.parametrize("start", [Since.ALL, Since.UNREAD, 0, 2], ids=["all", "unread", "seq 0", "seq 2"])
async def test_the_newest_rows_come_after_a_reset(air: Air, start: Since | int) -> None:
    await air.log.add(1, 1, 1, 2, 1, None, 2, 1, 2, 1, 2)
    async with air.by_hand(1, start, CAPPED) as reader:
        await greeted(reader)
        assert resets(reader) == [("limit", 1, 4)]
        assert reader.seqs == [5, 6, 8, 10]
        assert [event.type for event in reader.events] == ["reset", *["message"] * MOST, "hello"]
        await air.send(1)
        async with asyncio.timeout(10):
            while len(reader.seqs) <= MOST:
                await reader.read()
        assert reader.seqs[MOST:] == [12]


@pytest.mark.usefixtures("page")
@pytest.mark.parametrize("start", [Since.ALL, 1, 4], ids=["all", "seq 1", "where it was cut"])
async def test_nothing_is_cut_off_as_many_as_it_may_have(air: Air, start: Since | int) -> None:
    await air.log.add(2, 2, 2, 2, 1, None, 2, 1, 2, 1, 2)
    async with air.by_hand(1, start, CAPPED) as reader:
        await greeted(reader)
        assert (resets(reader), reader.seqs) == ([], [5, 6, 8, 10])


@pytest.mark.usefixtures("page")
async def test_what_was_viewed_does_not_count_for_who_wants_unread_rows(air: Air) -> None:
    await air.log.add(1, None, 1, None, 1, 1, None, 1)
    await air.log.sql.execute("UPDATE notifications SET is_viewed = true WHERE seq IN (1, 5)")
    await air.log.sql.execute("INSERT INTO rowcast.viewed SELECT 1, id FROM notifications WHERE seq IN (2, 7)")
    async with air.by_hand(1, Since.UNREAD, CAPPED) as reader:
        await greeted(reader)
        assert (resets(reader), reader.seqs) == ([], [3, 4, 6, 8])
    async with air.by_hand(1, Since.ALL, CAPPED) as reader:
        await greeted(reader)
        assert (resets(reader), reader.seqs) == ([("limit", 1, 4)], [5, 6, 7, 8])


@pytest.mark.usefixtures("page")
async def test_a_pruned_position_is_told_first(air: Air) -> None:
    await air.log.add(*[1] * 12)
    await air.log.sql.execute("DELETE FROM notifications WHERE seq <= 3")
    await air.log.move(pruned_seq=3)
    async with air.by_hand(1, 1, CAPPED) as reader:
        await greeted(reader)
        assert resets(reader) == [("pruned", 4, 3), ("limit", 4, 8)]
        assert reader.seqs == [9, 10, 11, 12]


async def test_what_comes_while_it_reads_is_not_what_it_missed(air: Air, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much that is: a client that is connected is left nothing out, by whatever way it gets it."""
    monkeypatch.setitem(history._LIMITS, "page", 2)
    config = WebConfig(caps=Caps(replay_rows=MOST), stream_queue=1)
    await air.log.add(*[1] * 6)
    async with air.by_hand(1, Since.ALL, config) as reader:
        while not reader.seqs:
            await reader.read()
        await air.send(*[1] * 20)
        await greeted(reader)
        async with asyncio.timeout(10):
            while len(reader.seqs) < MOST + 20:
                await reader.read()
        assert reader.seqs == list(range(3, 27))
        assert resets(reader) == [("limit", 1, 2)]


async def test_a_client_that_left_in_the_midst_goes_on_below_the_newest(
    air: Air, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(history._LIMITS, "page", 2)
    await air.log.add(*[1] * 10)
    async with air.by_hand(1, Since.ALL, CAPPED) as reader:
        await reader.read()  # retry
        await reader.read()
        assert resets(reader) == [("limit", 1, 6)]
    async with air.by_hand(1, 6, CAPPED) as reader:
        await greeted(reader)
        assert (resets(reader), reader.seqs) == ([], [7, 8, 9, 10])


@pytest.mark.parametrize("unread", [False, True])
async def test_the_cut_is_where_counting_puts_it(air: Air, unread: bool) -> None:
    chance = random.Random(5)
    await air.log.add(*(chance.choice([1, 2, None]) for _ in range(60)))
    viewed = chance.sample(range(1, 61), 20)
    await air.log.sql.execute("UPDATE notifications SET is_viewed = true WHERE seq = ANY (%s)", (viewed,))
    rows = await air.history.replay("1", after=0, upto=None, unread=unread)
    seqs = [event.seq for event in rows.events]
    assert 20 < len(seqs) < 50
    for keep in range(1, len(seqs) + 2):
        for after, upto in ((0, 60), (seqs[3], 60), (0, seqs[-4])):
            due = [seq for seq in seqs if after < seq <= upto]
            below = await air.history.below_newest("1", keep, after=after, upto=upto, unread=unread)
            assert below == (due[-keep] - 1 if keep < len(due) else None)


async def test_it_is_counted(databases: Databases, valkey: Server) -> None:
    async with serving(databases, valkey, CAPPED) as served:
        await served.air.log.add(*[1] * MOST, 2)
        async with served.client() as client:
            client.ask("GET /events/1?since=all")
            assert b"event: reset" not in await client.until(b"event: hello")
        await served.air.log.add(1)
        async with served.client() as client:
            client.ask("GET /events/1?since=all")
            said = await client.until(b"event: hello")
        assert b'data: {"reason":"limit","oldest":1}\nevent: reset\nid: 1\n\n' in said
        assert served.refused(Cap.REPLAY_ROWS) == 1
