"""History that ends while it is read: whoever may have missed something because of it is told, at every moment (an explicit reset)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import psycopg
import pytest

from db import history
from fanout.messages import Message
from rowcast.embedded import Server
from tests.db.databases import Databases
from tests.waiting import turns, until
from tests.web.air import Air, Reader, open_air, together
from tests.web.log import reads_wait
from web import bucket as bucket_module
from web.stream import Since


@pytest.fixture
async def air(databases: Databases, valkey: Server, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Air]:
    """Nothing is re-read by the clock, which would hide what was missed."""
    monkeypatch.setattr(bucket_module, "REREAD_EVERY", 1000.0)
    monkeypatch.setattr(bucket_module, "SILENCE", 1000.0)
    with databases.migrated() as url:
        async with open_air(url, valkey.url) as made:
            yield made


async def prune(air: Air, upto: int) -> None:
    """As `rowcast prune` does it: said, then done."""
    await air.log.sql.execute("SELECT rowcast.forget(%s)", (upto,))
    await air.log.sql.execute("DELETE FROM notifications WHERE seq <= %s", (upto,))


def resets(reader: Reader) -> list[tuple[str, int]]:
    """Of each: the reason, and the position that it sets."""
    return [(json.loads(event.data)["reason"], int(event.last_event_id)) for event in reader.of_type("reset")]


async def all_of_it(reader: Reader) -> None:
    async with asyncio.timeout(10):
        await reader.until_hello()


@pytest.mark.parametrize("start", [Since.ALL, Since.UNREAD, 0], ids=["all", "unread", "seq"])
async def test_what_is_pruned_between_two_pages_of_a_backlog_is_told(
    air: Air, monkeypatch: pytest.MonkeyPatch, start: Since | int
) -> None:
    monkeypatch.setitem(history._LIMITS, "page", 2)
    await air.log.add(*[1] * 10)
    async with air.by_hand(1, start) as reader:
        while len(reader.seqs) < 2:
            await reader.read()
        await prune(air, 6)
        await all_of_it(reader)
        assert reader.seqs == [1, 2, 7, 8, 9, 10]
        assert resets(reader) == [("pruned", 6)]
        ids = [int(event.last_event_id) for event in reader.events]
        assert ids == sorted(ids)


async def test_all_that_was_left_of_a_backlog_is_pruned_and_more(air: Air, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also what was stamped after the backlog began."""
    monkeypatch.setitem(history._LIMITS, "page", 2)
    await air.log.add(*[1] * 6)
    async with air.by_hand(1, Since.ALL) as reader:
        while len(reader.seqs) < 2:
            await reader.read()
        await air.log.add(1, 1)
        await prune(air, 7)
        await all_of_it(reader)
        assert (reader.seqs, resets(reader)) == ([1, 2, 8], [("pruned", 7)])


async def test_what_is_pruned_behind_a_backlog_is_no_reason_for_a_reset(
    air: Air, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(history._LIMITS, "page", 2)
    await air.log.add(*[1] * 6)
    async with air.by_hand(1, Since.ALL) as reader:
        while len(reader.seqs) < 2:
            await reader.read()
        await prune(air, 2)
        await all_of_it(reader)
        assert (reader.seqs, resets(reader)) == ([1, 2, 3, 4, 5, 6], [])


async def test_unread_rows_that_were_kept_come_to_who_begins_anew(air: Air, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below the pruned position, page by page, and without a reset: nothing goes while they are read."""
    monkeypatch.setitem(history._LIMITS, "page", 2)
    await air.log.add(*[1] * 8)
    await air.log.sql.execute("DELETE FROM notifications WHERE seq IN (2, 6)")
    await air.log.move(pruned_seq=6)
    async with air.by_hand(1, Since.UNREAD) as fresh:
        await all_of_it(fresh)
        assert (fresh.seqs, resets(fresh)) == ([1, 3, 4, 5, 7, 8], [])
    async with air.by_hand(1, 4) as resumed:
        await all_of_it(resumed)
        assert (resumed.seqs, resets(resumed)) == ([7, 8], [("pruned", 6)])


async def test_what_is_pruned_before_a_bucket_could_re_read_it_is_told_to_every_stream(air: Air) -> None:
    """A web process that missed messages, and finds in Postgres that they are gone."""
    async with air.reading(1, Since.NOW) as mine, air.reading(2, Since.NOW) as anothers:
        await together(mine, anothers)
        await air.send(1, 2)
        await mine.gets(1)
        await anothers.gets(2)
        await air.log.add(1, 1, 2, 1)  # never published
        await prune(air, 5)
        last = await air.log.add(1, 2)
        await air.publish(last[1:])
        await mine.gets(1, 6, 7)
        await anothers.gets(2, 8)
        assert await _told(mine) == await _told(anothers) == [("pruned", 5)]


async def _told(reader: Reader) -> list[tuple[str, int]]:
    await until(lambda: bool(reader.of_type("reset")))
    return resets(reader)


async def test_what_is_pruned_while_a_bucket_re_reads_page_by_page_is_told(
    air: Air, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(history._LIMITS, "page", 2)
    async with air.reading(1, Since.NOW) as reader:
        await reader.live()
        await air.send(1)
        await reader.gets(1)
        missed = await air.log.add(*[1] * 8)
        before = air.history.reread
        pages = 0

        async def reread(*arguments: object, **others: object) -> history.Page:
            nonlocal pages
            page = await before(*arguments, **others)  # type: ignore[arg-type]
            pages += 1
            if pages == 1:
                await prune(air, 6)
            return page

        monkeypatch.setattr(air.history, "reread", reread)
        await air.publish([_above(missed[-1])])
        await until(lambda: 9 in reader.seqs)
        # The first page may still have gone out, or have been dropped with the rest.
        assert reader.seqs in ([1, 2, 3, 7, 8, 9], [1, 2, 7, 8, 9], [1, 7, 8, 9])
        assert resets(reader) == [("pruned", 6)]


def _above(message: Message) -> Message:
    return Message(message.event, message.event.seq - 1)


async def test_what_was_heard_before_it_was_pruned_is_no_loss(air: Air) -> None:
    async with air.reading(1, Since.NOW) as reader:
        await reader.live()
        await air.send(1, 1)
        await reader.gets(1, 2)
        await prune(air, 2)
        air.hub.interrupted(0)
        air.hub.joined(0)
        await air.send(1)
        await reader.gets(1, 2, 3)
        assert not resets(reader)


async def test_a_stream_that_must_read_again_before_it_is_live_looks_again(air: Air) -> None:
    """Its bucket re-read meanwhile: what it reads then has another beginning."""
    await air.log.add(1)
    async with air.by_hand(1, Since.ALL) as reader:
        while not reader.seqs:
            await reader.read()
        bucket = air.hub._buckets[0]
        await air.log.add(1, 1, 1)
        with psycopg.connect(air.log.url) as pruner:
            pruner.execute("LOCK TABLE notifications IN ACCESS EXCLUSIVE MODE")
            bucket.missed()
            await until(lambda: reads_wait(air.log))
            reading = asyncio.create_task(all_of_it(reader), name="reader")
            await turns()
            pruner.execute("SELECT rowcast.forget(3)")
            pruner.execute("DELETE FROM notifications WHERE seq <= 3")
        await reading
        assert (reader.seqs, resets(reader)) == ([1, 4], [("pruned", 3)])
