"""Asks each web process for /readyz and /healthz, four times a second, and writes the answers down."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import httpx

from tests.chaos.records import Notebook, Probe, now

EVERY = 0.25
PATIENCE = 2.5  # seconds; /readyz itself gives Postgres one


async def probe(urls: Sequence[tuple[str, str]], book: Notebook) -> None:
    """Ask for ever; each web process as (the URL its clients know it by, the URL that leads straight to it)."""
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE) as http, asyncio.TaskGroup() as tasks:
        for known, direct in urls:
            tasks.create_task(_probe_one(http, known, direct, book), name=f"probe of {known}")


async def _probe_one(http: httpx.AsyncClient, known: str, direct: str, book: Notebook) -> None:
    while True:
        at = now()
        ready, health = await asyncio.gather(_status(http, f"{direct}/readyz"), _status(http, f"{direct}/healthz"))
        book.note(Probe(at, known, ready, health))
        await asyncio.sleep(EVERY)


async def _status(http: httpx.AsyncClient, url: str) -> int | None:
    try:
        return (await http.get(url)).status_code
    except httpx.HTTPError:
        return None
