"""ROWCAST_QUERY_TIMEOUT is what a request may take of Postgres: no less, and no more."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from db.connect import BORROW_TIMEOUT
from tests.rig import Rig

pytestmark = pytest.mark.slow


async def test_a_request_waits_for_postgres_as_long_as_it_is_set_to_and_then_no_longer(own: Rig) -> None:
    """The longer one waits longer than anybody else is given a session for."""
    await own.bridge()
    (short, _), (long, _) = await own.web(query_timeout="1"), await own.web(query_timeout="60")
    async with own.sql() as sql, httpx.AsyncClient(trust_env=False, timeout=60) as http, asyncio.TaskGroup() as tasks:
        posted = (await http.post(f"{long}/notifications", json={"user_id": 1, "message": "m"})).json()
        path = f"/notifications/{posted['id']}"
        async with sql.transaction():
            await sql.execute("UPDATE notifications SET message = 'n'")
            patient = tasks.create_task(http.patch(long + path, json={"is_viewed": True}))
            refused = await http.patch(short + path, json={"is_viewed": True})
            assert (refused.status_code, refused.headers["retry-after"]) == (httpx.codes.SERVICE_UNAVAILABLE, "2")
            counted = (await http.get(f"{short}/metrics")).text
            assert 'rowcast_refusals_total{cap="query_timeout"} 1.0' in counted
            await asyncio.wait({patient}, timeout=BORROW_TIMEOUT + 1)
            assert not patient.done()
        assert (await patient).json()["is_viewed"] is True
