"""Sessions that are given up: nothing of them is left at Postgres."""

from __future__ import annotations

import asyncio
import gc

import pytest

from db.connect import session


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
