"""The parts of the rig that are processes of their own, so that a busy rig slows down neither writers nor clients."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Protocol

from tests.parts import ROOT

ENDS_WITHIN = 60.0


class Config(Protocol):
    """What a part is told: a dataclass that says where its records go. What it complains of goes beside them."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def book(self) -> str: ...


class Part:
    """A running part; what it complains of is in `log`."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self._log = log

    async def end(self) -> None:
        """Tell it to end and wait; raises AssertionError with its log if that was no good end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        async with asyncio.timeout(ENDS_WITHIN):
            status = await self._process.wait()
        assert status == 0, f"a part of the rig broke:\n{self._log.read_text()[-4000:]}"

    @property
    def pid(self) -> int:
        return self._process.pid

    def say(self, word: str) -> None:
        """See the part's own words."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n".encode())

    @property
    def running(self) -> bool:
        return self._process.returncode is None

    def kill(self) -> None:
        if self.running:
            self._process.kill()


@asynccontextmanager
async def part(module: str, config: Config) -> AsyncIterator[Part]:
    """`python -m module CONFIG`, killed at the end of the block if it still runs."""
    log = Path(config.book).with_suffix(".log")
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", module, json.dumps(asdict(config))),
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=errors,
            stderr=errors,
        )
    made = Part(process, log)
    try:
        yield made
    finally:
        made.kill()
        await process.wait()
