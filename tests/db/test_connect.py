"""Sessions that are given up: nothing of them is left at Postgres."""

from __future__ import annotations

import asyncio
import gc

import pytest
from psycopg.conninfo import make_conninfo

from db.connect import DatabaseConfig, borrow, open_pool, session
from tests.waiting import DEADLINE, turns, until
from tests.wire import wire


async def test_a_cancelled_attempt_to_connect_leaves_no_connection_that_postgres_waits_on() -> None:
    """Whoever still holds the task: a bridge whose claims fail gives up two such attempts each time, and Postgres waits a minute for each."""
    came, went = asyncio.Event(), asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.set()
        while await reader.read(1000):
            pass
        went.set()
        writer.close()

    async def connect(port: int) -> None:
        async with session(f"postgresql://nobody@127.0.0.1:{port}/none", name="test"):
            pass

    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as server:
        task = asyncio.create_task(connect(server.sockets[0].getsockname()[1]))
        await came.wait()
        gc.disable()
        try:
            task.cancel()
            async with asyncio.timeout(2):
                await went.wait()
        finally:
            gc.enable()
        with pytest.raises(asyncio.CancelledError):
            await task


@pytest.mark.parametrize("turn", range(6))
async def test_a_borrower_cancelled_while_it_gives_its_session_back_does_not_lose_it(database: str, turn: int) -> None:
    """The pool is busy just then: another session of it is going to a borrower who has begun to wait in the same turn of the event loop."""
    async with open_pool(DatabaseConfig(database, 2), name="test") as pool:
        enough, borrowed = asyncio.Event(), [asyncio.Event(), asyncio.Event()]

        async def hold(number: int) -> None:
            async with borrow(pool, doing="testing"):
                borrowed[number].set()
                await enough.wait()

        async def wait_for_one() -> None:
            async with borrow(pool, doing="testing"):
                pass

        first, second = asyncio.create_task(hold(0)), asyncio.create_task(hold(1))
        await asyncio.gather(*(each.wait() for each in borrowed))
        waiting = asyncio.create_task(wait_for_one())
        enough.set()
        await turns(turn)
        second.cancel()
        _, left = await asyncio.wait({first, second, waiting}, timeout=DEADLINE)
        assert not left
        await until(lambda: pool.get_stats()["pool_available"] == 2)


async def test_who_waits_for_a_session_gets_one_though_the_pool_gave_up_meanwhile(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By itself it connects again only for somebody who asks after that."""
    monkeypatch.setattr("db.connect.RECONNECT_TIMEOUT", 0.1)
    async with wire(database) as way:
        way.refuse()
        async with open_pool(
            DatabaseConfig(make_conninfo(database, host="127.0.0.1", port=way.port), 1), name="test"
        ) as pool:

            async def borrowed() -> None:
                async with borrow(pool, doing="testing"):
                    pass

            waiting = asyncio.create_task(borrowed())
            await until(lambda: pool.get_stats().get("connections_errors", 0) >= 4)
            way.heal()
            await waiting
