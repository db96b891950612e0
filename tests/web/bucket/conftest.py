"""A bucket on a real log for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.clocks import QuickClock
from tests.db.databases import Databases
from tests.web.bucket.scene import Scene, scene
from web import bucket as module


@pytest.fixture(autouse=True)
def _no_rereads_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missed is missed for long: without marks a bucket would re-read once a second, and hide it."""
    monkeypatch.setattr(module, "REREAD_EVERY", 1000.0)


@pytest.fixture
async def quick(databases: Databases) -> AsyncIterator[Scene]:
    """Failed re-reads are tried again at once."""
    async with scene(databases, QuickClock()) as made:
        yield made
