"""A row that Postgres itself can't write out, or not in time, in the log in spite of the limits: nobody can be given it, and others get all else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from core.errors import UnreadableRowError
from db import history, queries
from rowcast.embedded import Server
from tests.db.databases import Databases
from tests.waiting import until
from tests.web.air import Air, open_air, together
from tests.web.site import Site
from web import bucket
from web.stream import Since

TOO_MUCH = "CASE n.message WHEN 'too much' THEN repeat(left(n.message, 1), 1100000000) ELSE ({text}) END"
TOO_SLOW = "CASE n.message WHEN 'too slow' THEN pg_sleep(60)::text ELSE ({text}) END"


@pytest.fixture
def too_much(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A row with the message `too much` passes what Postgres makes of a value (1 GB): at once, and not after ten seconds of escapes.

    One with the message `too slow` takes longer than anybody waits.
    """
    text = queries._text
    written = {name: TOO_SLOW.replace("{text}", TOO_MUCH.replace("{text}", text(name))) for name in ("_event", "_row")}
    monkeypatch.setattr(queries, "_text", lambda name: written.get(name) or text(name))
    queries.query.cache_clear()
    yield
    queries.query.cache_clear()


@pytest.fixture
async def air(databases: Databases, valkey: Server, too_much: None) -> AsyncIterator[Air]:
    with databases.migrated() as url:
        async with open_air(url, valkey.url) as made:
            yield made


async def add_unreadable(air: Air, user: int | None) -> None:
    await air.log.sql.execute("INSERT INTO notifications (user_id, message) VALUES (%s, 'too much')", (user,))


async def stamp(air: Air) -> None:
    """As the bridge does, whose reader is told that it can't have the bodies: nothing is published."""
    with pytest.raises(UnreadableRowError, match="larger than Postgres can write it out"):
        await air.log.stamp()


@pytest.mark.parametrize("user", [2, None], ids=["for one user", "for everyone"])
async def test_live_streams_go_on_without_it(air: Air, user: int | None) -> None:
    async with air.reading(1, Since.NOW) as one, air.reading(2, Since.NOW) as two, asyncio.timeout(60):
        await together(one, two)
        await air.send(1, 2)
        await air.log.sql.execute("INSERT INTO notifications (user_id, message) VALUES (1, 'before'), (2, 'before')")
        await add_unreadable(air, user)
        await air.log.sql.execute("INSERT INTO notifications (user_id, message) VALUES (1, 'after'), (2, 'after')")
        await stamp(air)
        await air.send(1, 2)  # shows the hole
        await until(lambda: len(one.seqs) == len(two.seqs) == 4, timeout=60)
        assert (one.seqs, two.seqs) == ([1, 3, 6, 8], [2, 4, 7, 9])


@pytest.mark.parametrize(
    ("user", "page"),
    [
        pytest.param(2, 500, id="for one user"),
        pytest.param(2, 2, id="on a later page", marks=pytest.mark.slow),
        pytest.param(None, 500, id="for everyone", marks=pytest.mark.slow),
    ],
)
async def test_a_missed_row_that_takes_long_holds_up_its_own_streams_and_others_for_seconds(
    air: Air, monkeypatch: pytest.MonkeyPatch, user: int | None, page: int
) -> None:
    """Nothing of theirs overtakes it; a stream that begins above it is live as ever."""
    monkeypatch.setattr(bucket, "PATIENCE", 0.5)
    monkeypatch.setitem(history._LIMITS, "page", page)
    async with air.reading(1, Since.NOW) as one, air.reading(2, Since.NOW) as two:
        await together(one, two)
        await air.send(1, 2)
        await air.log.add(1, 2, user, 1, 2)
        await air.log.sql.execute("UPDATE notifications SET message = 'too slow' WHERE seq = 5")
        await air.send(1, 2)  # shows the hole
        async with asyncio.timeout(10):
            await until(lambda: air.hub._buckets[0].position == 9)
            async with air.reading(1, 9) as later:
                await later.live()
                await air.send(1)
                await later.gets(10)
            if user is not None:
                await one.gets(1, 3, 6, 8, 10)
        assert two.seqs in ([2], [2, 4])
        assert user is not None or one.seqs in ([1], [1, 3])


async def test_a_backlog_goes_on_without_it(air: Air) -> None:
    await air.log.add(1, 1, 2)
    await add_unreadable(air, 1)
    await stamp(air)
    await air.log.add(1, 2)
    async with air.by_hand(1, Since.ALL) as one, asyncio.timeout(60):
        await one.until_hello()
        assert one.seqs == [1, 2, 5]


async def test_who_asks_for_it_over_http_is_told_and_one_that_is_sent_is_refused(site: Site, too_much: None) -> None:
    """What is there is not the caller's mistake; what is given is."""
    http = site.http
    await site.sql("INSERT INTO notifications (id, user_id, key, message) VALUES (1000000, 1, 'k', 'too much')")
    await site.relay()
    for method, path in (
        ("GET", "/notifications?user_id=1"),
        ("GET", "/notifications/1000000"),
        ("GET", "/read/k"),
        ("PATCH", "/notifications/1000000"),
    ):
        answer = await http.request(method, path, json={"is_viewed": True} if method == "PATCH" else None)
        assert answer.status_code == 500
        assert "more than Postgres can write out" in answer.json()["detail"]
    given = await http.post("/notifications", json={"user_id": 2, "message": "too much"})
    assert given.status_code == 400
    assert "Postgres refused the row" in given.json()["detail"]
    assert (await http.get("/notifications?user_id=2")).json()["items"] == []
    assert (await http.delete("/notifications/1000000")).status_code == 204
    assert (await http.get("/notifications?user_id=1")).json()["items"] == []
