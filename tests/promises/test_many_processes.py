"""Several web processes: behind a balancer that sends each connection to the next, or on one port; what they cost Postgres."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import psutil
import pytest

from tests.event_source import EventSource, open_stream
from tests.promises.probe import raw_stream
from tests.rig import Rig
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
    workers = [child for child in psutil.Process(web.pid).children() if "fd://" in " ".join(child.cmdline())]
    async with _crowd(url, range(400)):
        shares = [len(worker.net_connections("tcp")) for worker in workers]
    assert len(shares) == PROCESSES
    assert min(shares) > 400 / PROCESSES / 5, shares


async def _all_serve(own: Rig) -> bool:
    return await _sessions(own, "rowcast-reread") == PROCESSES


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
