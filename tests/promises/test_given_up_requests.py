"""Requests that are given up at any point leave nothing behind: no answer goes to another user, no session is left half-read."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress

import httpx
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from core.errors import DatabaseUnavailableError
from db.connect import DatabaseConfig, open_pool
from db.history import Asked, History, Page
from db.inbox import Inbox
from tests.db.databases import Databases
from tests.event_source import open_stream
from tests.rig import Rig
from tests.waiting import until

pytestmark = pytest.mark.slow

USERS = 20
REQUESTS = 4000
_MARK = re.compile(r"mark-of-(\d+)-")


def fill(address: str) -> None:
    """Ten relayed rows for each user, each with the user's mark in its text; ids and seqs are 1 to 200."""
    with psycopg.connect(address, autocommit=True) as owner:
        owner.execute(
            "INSERT INTO notifications (user_id, key, message, seq) SELECT i % 20, 'key ' || i % 20, "
            "'mark-of-' || i % 20 || '-' || repeat('x', 1000), i FROM generate_series(1, 200) AS i"
        )
        owner.execute("UPDATE rowcast.state SET last_seq = 200; SELECT setval('rowcast.seq', 200)")


def marks(text: str) -> set[int]:
    """Whose texts these are."""
    return {int(user) for user in _MARK.findall(text)}


async def given_up(work: Awaitable[str], chance: random.Random, longest: float) -> str:
    """What came of it before it was given up, after any time."""
    task = asyncio.ensure_future(work)
    if chance.random() < 0.5:
        for _ in range(chance.randrange(30)):
            await asyncio.sleep(0)
    else:
        await asyncio.wait([task], timeout=chance.random() * longest)
    if chance.random() < 0.8:
        task.cancel()
    with suppress(asyncio.CancelledError, DatabaseUnavailableError, httpx.HTTPError):
        return await task
    return ""


async def test_tasks_that_are_cancelled_leave_the_pool_whole(databases: Databases) -> None:
    """At any await of a read or a write, behind row-level security, with the sessions that the next one gets."""
    chance = random.Random(1)
    with databases.migrated() as address, databases.login("rowcast_web") as name:
        fill(address)
        login = make_conninfo(address, user=name, password="test")
        async with open_pool(DatabaseConfig(login, 3), name="given-up") as pool:
            inbox, history = Inbox(pool), History(pool)

            async def replay(user: str) -> str:
                return "".join(event.body for event in (await history.replay(user, after=0, upto=None)).events)

            async def replay_many(user: str) -> str:
                asked = [Asked(user, 0, None, False, 0), Asked(user, 100, None, True, 0)]
                pages = await history.replay_many(asked, limit=5)
                return "".join(event.body for page in pages if isinstance(page, Page) for event in page.events)

            async def page(user: str) -> str:
                return "".join((await inbox.page(user, before=None, limit=9, unread=False)).items)

            async def key(user: str) -> str:
                return str(await inbox.newest_with_key(f"key {user}", viewer=user))

            async def post(user: str) -> str:
                rows = json.dumps([{"user_id": int(user), "message": f"mark-of-{user}-"}])
                return "".join(body for _, body in await inbox.insert(rows))

            kinds: list[Callable[[str], Awaitable[str]]] = [replay, replay_many, page, key, post]

            async def one() -> None:
                user = chance.randrange(USERS)
                text = await given_up(chance.choice(kinds)(str(user)), chance, 0.02)
                assert marks(text) <= {user}

            await _in_turns(one, REQUESTS)
            async with asyncio.timeout(30):
                texts = await asyncio.gather(*(page(str(user)) for user in range(USERS)))
            assert [marks(text) for text in texts] == [{user} for user in range(USERS)]
            await until(lambda: pool.get_stats().get("pool_available") == pool.get_stats().get("pool_size"))
        assert _busy(address) == []


async def test_no_answer_of_a_request_that_was_given_up_reaches_another_user(own: Rig, databases: Databases) -> None:
    """Thousands of clients of real processes that leave at any moment: lists, single rows, inserts and streams."""
    chance = random.Random(2)
    fill(own.database_url)
    with databases.login("rowcast_web") as name:
        await own.bridge()
        url, web = await own.web(database_url=make_conninfo(own.database_url, user=name, password="test"))
        limits = httpx.Limits(max_connections=50, max_keepalive_connections=20)
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=20, limits=limits) as http:

            async def ask(user: int) -> str:
                return (await http.get("/notifications", params={"user_id": user, "limit": 5})).text

            async def read(user: int) -> str:
                return (await http.get(f"/notifications/{200 if user == 0 else user}", params={"user_id": user})).text

            async def post(user: int) -> str:
                return (await http.post("/notifications", json={"user_id": user, "message": f"mark-of-{user}-"})).text

            async def stream(user: int) -> str:
                text = ""
                async with http.stream("GET", f"/events/{user}?since=all") as answer:
                    async for piece in answer.aiter_text():
                        text += piece
                        if marks(text) - {user} or len(text) > 5000:
                            break
                return text

            kinds: list[Callable[[int], Awaitable[str]]] = [ask, read, post, stream]

            async def one() -> None:
                user = chance.randrange(USERS)
                text = await given_up(chance.choice(kinds)(user), chance, 0.1)
                assert marks(text) <= {user}

            await _in_turns(one, REQUESTS)
            answers = await asyncio.gather(*(ask(user) for user in range(USERS)))
            assert [marks(text) for text in answers] == [{user} for user in range(USERS)]
        async with open_stream(f"{url}/events/1?since=now") as after:
            await after.live()
            await own.insert(1, "well")
            await until(lambda: "well" in after.messages)
        assert web.process is not None
        assert web.process.returncode is None
        await until(lambda: not _busy(own.database_url))


async def _in_turns(one: Callable[[], Awaitable[None]], count: int, *, at_once: int = 40) -> None:
    left = iter(range(count))

    async def worker() -> None:
        for _ in left:
            await one()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(at_once):
            tasks.create_task(worker())


def _busy(address: str) -> list[tuple[str, str]]:
    """Sessions of a web's pool that are in the middle of something."""
    with psycopg.connect(address, autocommit=True) as session:
        found = session.execute(
            "SELECT state, query FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
            "AND state <> 'idle' AND application_name IN ('given-up', 'rowcast-web') "
            "AND clock_timestamp() - query_start > interval '5 seconds'"
        )
        return found.fetchall()
