"""A revoked token is refused by every process, also by one that was away when it happened, and its streams end within a second.

The bounds have room for a busy machine; each run logs what it took.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from tests.rig import Process, Rig, ready
from tests.waiting import until
from tests.web.auth.minting import SECRET, bearer
from tests.wire import wire

pytestmark = pytest.mark.slow

_log = logging.getLogger(__name__)

ADMIN = bearer(None, "admin")
SECOND = 1.0
# A poll, and what a machine with other work to do takes on top.
ROOM = 1.0


def issued(ago: float, user: object = 1, **claims: object) -> dict[str, str]:
    """The header with a token of that user that was made so many seconds ago."""
    return bearer(user, "read view", iat=time.time() - ago, **claims)


class Listener:
    """A stream, read until its end."""

    def __init__(self, http: httpx.AsyncClient, url: str, headers: dict[str, str]) -> None:
        self._request = (http, f"{url}/events/1", headers)
        self.raw = b""
        self.status = 0
        self.ended_at: float | None = None

    async def run(self) -> None:
        http, url, headers = self._request
        async with http.stream("GET", url, headers=headers, timeout=None) as answer:
            self.status = answer.status_code
            async for chunk in answer.aiter_raw():
                self.raw += chunk
        self.ended_at = time.monotonic()

    async def live(self) -> None:
        await until(lambda: b"event: hello" in self.raw)


@asynccontextmanager
async def listening(*places: tuple[str, dict[str, str]]) -> AsyncIterator[list[Listener]]:
    """A live stream at each of these URLs, with these headers."""
    async with httpx.AsyncClient(trust_env=False) as http, asyncio.TaskGroup() as tasks:
        listeners = [Listener(http, url, headers) for url, headers in places]
        running = [tasks.create_task(listener.run()) for listener in listeners]
        for listener in listeners:
            await listener.live()
        yield listeners
        for task in running:
            task.cancel()


async def web(own: Rig, *, database_url: str = "", redis_url: str = "") -> tuple[str, Process]:
    """A web process that wants tokens; with other ways to its servers, if they are given."""
    return await own.web(
        *("--auth", "jwt"),
        jwt_key=SECRET,
        database_url=database_url or own.database_url,
        redis_url=redis_url or own.redis_url,
    )


async def revoke(url: str, **what: object) -> float:
    """When it was answered."""
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = await http.post(f"{url}/revocations", json=what, headers=ADMIN, timeout=15)
    assert answer.status_code == 200, answer.text
    return time.monotonic()


async def status(url: str, headers: dict[str, str]) -> int:
    async with httpx.AsyncClient(trust_env=False) as http:
        return (await http.get(f"{url}/notifications", headers=headers, timeout=15)).status_code


async def all_ended(listeners: list[Listener], since: float) -> float:
    """Wait until all have ended; how long after that the last one did."""
    await until(lambda: all(listener.ended_at is not None for listener in listeners))
    took = max(listener.ended_at or 0 for listener in listeners) - since
    _log.info("streams ended %.3f s after the answer", took)
    return took


async def test_a_users_tokens_are_refused_everywhere_and_their_streams_end(own: Rig) -> None:
    await own.bridge()
    (one, _), (two, _) = await web(own), await web(own)
    old, nameless, another = issued(60), bearer(1), issued(60, user=2)
    places = [(url, headers) for url in (one, two) for headers in (old, nameless)]
    async with listening(*places) as listeners:
        assert await all_ended(listeners, await revoke(one, user=1)) < SECOND + ROOM
        assert all(listener.status == 200 and listener.raw.startswith(b"retry: ") for listener in listeners)
    for url in (one, two):
        assert [await status(url, headers) for headers in (old, nameless, another)] == [401, 401, 200]
        async with listening((url, issued(-0.5))) as [newer]:
            await own.insert(1, f"after at {url}")
            await until(lambda newer=newer, url=url: f"after at {url}".encode() in newer.raw)  # type: ignore[misc]


async def test_one_token_is_refused_and_no_other_of_its_user(own: Rig) -> None:
    await own.bridge()
    (one, _), (two, _) = await web(own), await web(own)
    lost, kept = issued(60, jti="lost"), issued(60, jti="kept")
    async with listening((two, lost), (two, kept)) as [ends, stays]:
        assert await all_ended([ends], await revoke(one, token="lost")) < SECOND + ROOM
        assert [await status(url, lost) for url in (one, two)] == [401, 401]
        assert [await status(url, kept) for url in (one, two)] == [200, 200]
        assert stays.ended_at is None


async def test_it_takes_no_redis(own: Rig) -> None:
    await own.bridge()
    async with wire(own.redis_url) as lost:
        (one, _), (two, _) = await web(own, redis_url=lost.url), await web(own, redis_url=lost.url)
        old = issued(60)
        async with listening((one, old), (two, old)) as listeners:
            lost.refuse()
            lost.reset()
            assert await all_ended(listeners, await revoke(one, user=1)) < SECOND + ROOM
            assert [await status(url, old) for url in (one, two)] == [401, 401]


async def test_a_process_that_was_frozen_meanwhile_refuses_from_its_first_answer_on(own: Rig) -> None:
    """Requests that came while it stood still are waiting for it, and are the first it sees."""
    await own.bridge()
    (one, _), (two, frozen) = await web(own), await web(own)
    old = issued(60)
    async with listening((two, old)) as listeners:
        frozen.send(signal.SIGSTOP)
        await revoke(one, user=1)
        asked = [asyncio.ensure_future(status(two, old)) for _ in range(20)]
        await asyncio.sleep(2)  # frozen for longer than a look is believed
        thawed = time.monotonic()
        frozen.send(signal.SIGCONT)
        assert await asyncio.gather(*asked) == [401] * 20
        assert await all_ended(listeners, thawed) < SECOND + ROOM


@pytest.mark.parametrize("way", ["silent", "refused"])
async def test_a_process_that_was_cut_from_postgres_knows_once_it_is_back(own: Rig, way: str) -> None:
    """Meanwhile it holds to what it knew; it has said at /readyz that it is not fit."""
    await own.bridge()
    async with wire(own.database_url) as cut:
        (one, _), (two, process) = await web(own), await web(own, database_url=cut.url)
        before, old = issued(60, user=2), issued(60)
        await revoke(one, user=2)
        await until(lambda: "revocations.learnt" in process.log)
        async with listening((two, old)) as listeners:
            if way == "silent":
                cut.black_hole()
            else:
                cut.refuse()
                cut.reset()
            await process.logged("revocations.unread")
            await revoke(one, user=1)
            assert await status(two, before) == 401
            healed = time.monotonic()
            cut.heal()
            await until(lambda: listeners[0].ended_at is not None, timeout=20)
            _log.info("known %.3f s after the way was open again", (listeners[0].ended_at or 0) - healed)
            await ready(two, process)
            assert await status(two, old) == 401


async def test_a_process_that_starts_later_knows_ten_thousand_before_its_first_answer(own: Rig) -> None:
    await own.bridge()
    async with own.sql() as sql:
        await sql.execute(
            "INSERT INTO rowcast.revocations SELECT i, i, NULL, clock_timestamp(), NULL FROM generate_series(1, 10000) AS i"
        )
    url, process = await own.web_unready("--auth", "jwt", jwt_key=SECRET)
    await process.logged("web.listening")  # requests wait there for their answer
    async with asyncio.timeout(20):
        while (first := await status(url, issued(60, user=10_000))) == 503:
            await asyncio.sleep(0.05)  # it waits for Postgres, and says so
    assert first == 401
    await ready(url, process)
    assert await status(url, issued(60, user=10_001)) == 200
    assert "revocations.learnt" in process.log


async def test_sql_revokes_too(own: Rig) -> None:
    """For whoever can reach Postgres and no web process."""
    await own.bridge()
    url, _ = await web(own)
    async with listening((url, issued(60))) as listeners:
        async with own.sql() as sql:
            await sql.execute("SELECT rowcast.revoke('1', NULL, NULL)")
        assert await all_ended(listeners, time.monotonic()) < SECOND + ROOM
