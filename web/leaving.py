"""Answering a client that may leave meanwhile, or go on sending what nobody wants to read."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from hypercorn.typing import ASGIReceiveCallable


class _GoneError(Exception):
    """The client has left."""


async def while_there(receive: ASGIReceiveCallable, answer: Awaitable[None]) -> None:
    """Answer until the client leaves. All that it still sends is let pass: unread it would fill the server's queue, where its leaving
    then finds no room, and the connection is held for ever.
    """
    try:
        async with asyncio.TaskGroup() as tasks:
            leaving = tasks.create_task(_gone(receive), name="a client's leaving")
            await answer
            leaving.cancel()
    except* _GoneError:
        pass


async def _gone(receive: ASGIReceiveCallable) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    raise _GoneError
