"""Each request and each connection has an id, which lines of the log carry and the client is told."""

from __future__ import annotations

from typing import cast

import httpx
import structlog
from hypercorn.typing import WWWScope

from tests.clocks import HandClock
from web.request_ids import RequestIds, current_request_id


async def test_every_answer_has_an_id_of_its_own_and_takes_none_of_the_clients(web_url: str) -> None:
    """Streams, refusals and all else."""
    seen = []
    async with httpx.AsyncClient(base_url=web_url, trust_env=False, headers={"X-Request-ID": "chosen"}) as http:
        for path in ("/events/x", "/healthz", "/nothing", "/docs", "/notifications"):
            seen.append((await http.get(path)).headers.get_list("X-Request-ID"))
        async with http.stream("GET", "/events/1?since=now") as stream:
            seen.append(stream.headers.get_list("X-Request-ID"))
    assert {len(ids) for ids in seen} == {1}
    assert len({ids[0] for ids in seen}) == 6
    assert ["chosen"] not in seen


def test_lines_of_one_connection_share_its_id_and_tell_no_address() -> None:
    seen = []
    ids = RequestIds(HandClock())
    for client in (("192.0.2.77", 4242), ("192.0.2.77", 4242), ("192.0.2.77", 4243)):
        with structlog.contextvars.bound_contextvars():
            ids.begin()
            ids.recognize(cast(WWWScope, {"type": "http", "client": client}))
            seen.append(dict(structlog.contextvars.get_contextvars()))
            assert current_request_id() == seen[-1]["request"]
    structlog.contextvars.clear_contextvars()
    assert len({bound["request"] for bound in seen}) == 3
    assert seen[0]["connection"] == seen[1]["connection"] != seen[2]["connection"]
    assert "192" not in str(seen)
