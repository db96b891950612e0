"""Writers as nasty as users, in a process of their own: `python -m tests.chaos.writers CONFIG`, until its standard input ends."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from tests.chaos.ending import stdin_ends
from tests.chaos.records import Notebook
from tests.chaos.transactions import KINDS
from tests.chaos.writer import Writer, WriterConfig


async def main(config: WriterConfig) -> None:
    """Write until standard input ends; open transactions are then brought to their end."""
    stopping = asyncio.Event()
    with Notebook(Path(config.book)) as book:
        async with asyncio.TaskGroup() as tasks:
            for number in range(config.writers):
                writer = Writer(f"w{number}", config, book, stopping)
                tasks.create_task(writer.run(KINDS), name=writer.name)
            await stdin_ends()
            stopping.set()


if __name__ == "__main__":
    asyncio.run(main(WriterConfig(**json.loads(sys.argv[1]))))
