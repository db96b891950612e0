"""Several web processes: behind a balancer that sends each connection to the next, or on one port; what they cost Postgres."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import psutil
import pytest

from tests.event_source import DEADLINE, EventSource, open_stream
from tests.promises.probe import raw_stream
from tests.rig import Process, Rig
from tests.sizing import PAGE, inputs
from tests.waiting import until
from tests.wire import wire

PROCESSES = 4
POOL = 3
NAMES = [f"rowcast-{name}" for name in ("web", "backlog", "reread", "claim", "listen", "read", "prune")]


@pytest.mark.slow
async def test_clients_move_from_process_to_process_and_get_each_row_once(own: Rig) -> None:
    """Nothing is sticky: each connection is another process's, which goes on where the last one ended."""
    await own.bridge()
    urls = [(await own.web())[0] for _ in range(PROCESSES)]
    users = range(1, 9)
    async with wire(urls[0]) as balancer, _streams(balancer.url, users) as clients:
        balancer.retarget(*urls)
        for client in clients:
            await client.live()
        for number in range(3 * PROCESSES):
            async with asyncio.TaskGroup() as tasks:
                for user in users:
                    tasks.create_task(own.insert(user, f"row {number}"))
                balancer.reset()
            for client in clients:
                await client.until(lambda client=client, number=number: client.connections > number + 1)  # type: ignore[misc]
        for client in clients:
            await client.receives(*(f"row {number}" for number in range(3 * PROCESSES)))


@asynccontextmanager
async def _streams(url: str, users: range) -> AsyncIterator[list[EventSource]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(open_stream(f"{url}/events/{user}")) for user in users]


@pytest.mark.slow
@pytest.mark.parametrize("server", ["hypercorn", "uvicorn"])
async def test_workers_on_one_port_share_its_streams(own: Rig, server: str) -> None:
    await own.bridge()
    url, web = await own.web(workers=str(PROCESSES), server=server)
    await until(lambda: _all_serve(own))
    async with _crowd(url, range(400)):
        shares = [len(worker.net_connections("tcp")) for worker in _workers(web)]
    assert len(shares) == PROCESSES
    assert min(shares) > 400 / PROCESSES / 5, shares


@pytest.mark.slow
async def test_each_worker_keeps_to_the_caps_of_the_command(own: Rig) -> None:
    """Two of them let through twice as much and no more, also once one died and was replaced."""
    await own.bridge()
    url, web = await own.web("--workers", "2", "--streams-per-user", "1")
    await until(lambda: _all_serve(own, 2))
    async with AsyncExitStack() as streams:
        await _fill(streams, url, 2)
        assert not any([await _admitted(streams, url) for _ in range(10)])
        assert await _admitted(streams, url, user=2)
        _workers(web)[0].kill()
        await web.logged("web.worker_ended")
        await _fill(streams, url, 1)
        assert not any([await _admitted(streams, url) for _ in range(10)])


async def _fill(streams: AsyncExitStack, url: str, count: int) -> None:
    """Come again until so many streams of a user are open: which worker takes a connection is chance."""
    admitted = 0
    async with asyncio.timeout(DEADLINE):
        while admitted < count:
            admitted += await _admitted(streams, url)


async def _admitted(streams: AsyncExitStack, url: str, *, user: int = 1) -> bool:
    """Ask for one more stream; if it opens, it stays open for as long as `streams`."""
    async with AsyncExitStack() as asking:
        source = await asking.enter_async_context(open_stream(f"{url}/events/{user}", reconnect=False))
        await source.until(lambda: bool(source.ends or source.of_type("hello")))
        assert source.statuses == [200]
        if not source.of_type("hello"):
            assert source.raw.startswith(b"retry: ")
            return False
        await streams.enter_async_context(asking.pop_all())
        return True


def _workers(web: Process) -> list[psutil.Process]:
    return [child for child in psutil.Process(web.pid).children() if "fd://" in " ".join(child.cmdline())]


async def _all_serve(own: Rig, workers: int = PROCESSES) -> bool:
    return await _sessions(own, "rowcast-reread") == workers


@pytest.mark.slow
async def test_postgres_pays_for_processes_and_not_for_streams(own: Rig) -> None:
    """docs/scaling.md has the sum: a pool and one more for each web process, and some for the bridges."""
    leader = await own.bridge(retention="30d")
    await leader.logged("term.started")
    await own.bridge(retention="30d")
    counts = {}
    async with AsyncExitStack() as stack:
        for processes in range(1, PROCESSES + 1):
            url, _ = await own.web(pool_size=str(POOL))
            await stack.enter_async_context(_crowd(url, range(125)))
            counts[processes] = await _sessions(own, "rowcast-web", "rowcast-backlog", "rowcast-reread")
        all_sessions = await _sessions(own, *NAMES)
    assert counts[1] > 0
    for processes, sessions in counts.items():
        assert sessions <= processes * (POOL + 1), counts
    assert 3 < all_sessions - counts[PROCESSES] <= inputs(PAGE.read_text())["bridge_sessions"]


@asynccontextmanager
async def _crowd(url: str, users: range) -> AsyncIterator[None]:
    """Streams that are all live."""
    async with AsyncExitStack() as stack:
        for user in users:
            stream = await stack.enter_async_context(raw_stream(f"{url}/events/{user}?since=now"))
            await stream.until(b"event: hello")
        yield


async def _sessions(own: Rig, *names: str) -> int:
    """How many sessions of these names there are."""
    async with own.sql() as sql:
        found = await sql.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = ANY (%s)",
            (list(names),),
        )
        row = await found.fetchone()
    assert row is not None
    return int(row[0])
