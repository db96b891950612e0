"""How a part of the rig that is a process of its own is told things: a word a line on standard input, whose end is its own.

So it ends also when the rig was killed.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator


async def words() -> AsyncIterator[str]:
    """What is said on standard input, until that ends."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        yield line.decode().strip()


async def stdin_ends() -> None:
    """Wait for the end of standard input."""
    async for _ in words():
        pass
