"""Before Postgres has answered for the first time."""

from __future__ import annotations

import pytest

from core.clock import SystemClock
from core.user_ids import UserIdType
from web.config import WebConfig
from web.refusals import Refusals
from web.waiting_room import waiting_room


@pytest.mark.parametrize("user", ["1", "a/b", "%2Fa", "%2F%2Fa%2F", "a%0Ab", "%0A", "%F0%9F%90%98"])
async def test_every_stream_is_asked_to_come_back(user: str) -> None:
    """An EventSource gives up for good on anything but 200."""
    answer = await _get(f"/events/{user}")
    assert answer == (200, "text/event-stream", b"retry: ")


@pytest.mark.parametrize("path", ["/", "/notifications", "//", "/read/a%0Ab", "/readyz", "/events"])
async def test_all_else_is_a_503_that_says_why(path: str) -> None:
    assert await _get(path) == (503, "application/problem+json", b'{"type"')


async def test_it_lives() -> None:
    assert (await _get("/healthz"))[0] == 200


async def _get(path: str) -> tuple[int, str, bytes]:
    """Status, content type and the first seven bytes."""
    clock = SystemClock()
    app = waiting_room(WebConfig(UserIdType.TEXT), Refusals(clock), clock)
    answer = await app.test_client().get(path)
    return (
        answer.status_code,
        answer.headers["content-type"].partition(";")[0],
        (await answer.get_data(as_text=False))[:7],
    )
