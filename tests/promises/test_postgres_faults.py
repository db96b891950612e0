"""Postgres itself fails, or one of its processes: rows 5, 6 and 33 of the fault matrix in docs/delivery.md."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import httpx
import psycopg
import pytest

from tests.promises.health import get, unready
from tests.promises.load import under_load
from tests.promises.own_postgres import backend, own_postgres, own_postgres_in, small_disk, use_up
from tests.rig import Rig, ready
from tests.waiting import until

HEALS = 10.0


@pytest.mark.slow
async def test_a_postgres_killed_again_and_again_loses_nothing_it_committed() -> None:
    """Row 5: crash recovery wipes the NOTIFY queue, and with it what had rung for rows that were committed."""
    async with own_postgres() as (server, own):
        bridge = await own.bridge()
        url, web = await own.web()
        async with under_load(own, url) as load:
            for _ in range(2):
                await server.kill()
                assert "postgres" in await unready(url, web)
                await server.start()
                await load.flows(within=HEALS)
                await ready(url, web, timeout=HEALS)
        for process in (bridge, web):
            assert process.log.count("connection.lost") < 30
            assert "Traceback" not in process.log


@pytest.mark.slow
async def test_a_backend_killed_for_want_of_memory_takes_every_session_with_it_and_all_is_there_after() -> None:
    """Row 33: the kernel's SIGKILL for one process makes Postgres end all sessions and recover."""
    async with own_postgres() as (server, own):
        await own.bridge()
        url, web = await own.web()
        async with under_load(own, url) as load:
            for name in ("rowcast-claim", "rowcast-read", "rowcast-listen"):
                os.kill(await backend(own, name), signal.SIGKILL)
                await load.flows(within=HEALS)
                await ready(url, web, timeout=HEALS)
        assert server.log.count("all server processes terminated") == 3


@pytest.mark.slow
async def test_a_doorbell_ended_every_100_ms_delays_rows_and_loses_none(own: Rig) -> None:
    """Row 6: pg_terminate_backend of the LISTEN session, for three seconds."""
    bridge = await own.bridge()
    url, _ = await own.web()
    async with under_load(own, url) as load:
        ended = 0
        async with own.sql() as sql:
            until_then = time.monotonic() + 3
            while time.monotonic() < until_then:
                rows = await sql.execute(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                    "WHERE application_name = 'rowcast-listen' AND datname = current_database()"
                )
                ended += (await rows.fetchone() or (0,))[0]
                await asyncio.sleep(0.1)
        assert ended > 10
        await load.flows(within=HEALS)
        load.writer.unharmed()
    assert bridge.log.count("leader.leading") == 1


@pytest.mark.slow
async def test_a_table_that_can_t_grow_is_an_honest_error_and_all_is_delivered_once_it_can() -> None:
    """Row 33: a full disk. INSERTs fail as they would without Rowcast, so does the stamp of what was committed before."""
    async with own_postgres(autovacuum="off") as (server, own):
        bridge = await own.bridge()
        url, web = await own.web()
        size = await _fill(own)
        async with under_load(own, url) as load:
            server.limit_files(size)
            await _use_up_what_room_is_left(own)
            await until(lambda: any("could not extend" in reason for reason in load.writer.refused))
            await bridge.logged("could not extend")
            assert (await get(url, "/healthz")).status_code == httpx.codes.OK
            server.limit_files(None)
            await load.flows(within=HEALS)
            await ready(url, web, timeout=HEALS)


async def _use_up_what_room_is_left(own: Rig) -> None:
    """In the pages that are there, many if the table grew by several at a time: rows that are rolled back stay until vacuum."""
    async with own.sql() as sql:
        with pytest.raises(psycopg.Error, match="could not extend"):
            await sql.execute(
                "INSERT INTO notifications (user_id, message) SELECT 99, 'x' FROM generate_series(1, 500000)"
            )


async def _fill(own: Rig) -> int:
    """More than a segment of the log (16 MB), whose own growth is not to be refused; the table's size."""
    async with own.sql() as sql:
        await sql.execute(
            "INSERT INTO notifications (user_id, message) SELECT 99, repeat('x', 200) FROM generate_series(1, 50000)"
        )
        rows = "SELECT count(*) FROM notifications WHERE seq IS NULL"
        while (await (await sql.execute(rows)).fetchone()) != (0,):
            await asyncio.sleep(0.1)
        row = await (await sql.execute("SELECT pg_relation_size('notifications')")).fetchone()
    assert row is not None
    assert row[0] > 16 << 20
    return int(row[0])


@pytest.mark.slow
async def test_a_log_that_can_t_be_written_panics_postgres_and_loses_nothing_it_confirmed() -> None:
    """Row 33: no room for the write-ahead log. Postgres panics, and again in each recovery, until there is room.

    Its checkpointer may die so early in a recovery that Postgres replaces it and nothing else: the recovery then waits for the one that
    died, which holds the lock for writing the log, too. No time heals that, a restart does.
    """
    async with own_postgres() as (server, own):
        await own.bridge()
        url, web = await own.web()
        async with under_load(own, url) as load:
            server.limit_files(1 << 20)
            await until(lambda: server.log.count("PANIC") > 1, timeout=60)
            assert "postgres" in await unready(url, web)
            server.limit_files(None)
            try:
                await until(server.accepts, timeout=10)
            except TimeoutError:
                await server.kill()
                await server.start()
            await load.flows(within=HEALS)
            await ready(url, web, timeout=HEALS)
        assert load.writer.refused


@pytest.mark.slow
async def test_a_disk_that_is_really_full_is_an_honest_error_and_all_is_delivered_once_there_is_room() -> None:
    """Row 33: tables and log have one small disk, and something else fills it."""
    with small_disk(160) as disk:
        async with own_postgres_in(disk, {}) as (server, own):
            await own.bridge()
            url, web = await own.web()
            async with under_load(own, url) as load:
                ballast = await asyncio.to_thread(use_up, disk)
                await until(lambda: "No space left on device" in server.log)
                await until(lambda: bool(load.writer.refused))
                assert (await get(url, "/healthz")).status_code == httpx.codes.OK
                ballast.unlink()
                await load.flows(within=HEALS)
                await ready(url, web, timeout=HEALS)
