"""What a row may say: rows 14 and 37 of the fault matrix in docs/delivery.md."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
from psycopg.types.json import Jsonb

from rowcast.embedded import Server
from tests.event_source import EventSource, open_stream
from tests.promises.load import under_load
from tests.promises.probe import RawStream, delivery, raw_stream
from tests.rig import Rig
from tests.wire import wire

TEXTS = [
    "",
    "a\r\nb\rc\nd",
    "\n\ndata: injected\nid: 5\n\n",
    "\r\rdata: injected\rid: 5\r\r",
    "event: reset",
    ": a comment",
    "".join(map(chr, range(1, 32))) + "\x7f",
    "\u0085\u2028\u2029\ufeff\u200b\u202e",
    "\\u0000 \\n \" ' </script> ]]>",
    "żółć 漢字 \U0001f600 \U0010ffff \ud7ff\ue000",
    "null",
]
DATA: list[Any] = [None, {}, {"\u2028\n\n": "\r\ndata: x"}, [1, 2.5, True, None], "text", 0, 10**400]


@pytest.mark.slow
async def test_every_text_arrives_byte_for_byte_by_every_way_and_no_text_makes_an_event(
    own: Rig, valkey: Server
) -> None:
    """Row 14: live through Redis, from the backlog, and in a re-read while Redis is away."""
    await own.bridge()
    async with wire(valkey.url) as redis:
        url, _ = await own.web(redis_url=redis.url)
        async with open_stream(f"{url}/events/1") as live, open_stream(f"{url}/events/1") as reread:
            await live.live()
            await reread.live()
            await _insert(own)
            await _has_all(live, 1)
            redis.refuse()
            redis.reset()
            await _insert(own)
            await _has_all(reread, 2)
            redis.heal()
            async with open_stream(f"{url}/events/1") as backlog:
                await _has_all(backlog, 2)
            assert live.events[1 : 1 + len(TEXTS)] == backlog.events[: len(TEXTS)]
            assert reread.notifications == backlog.notifications
            for stream in (live, reread, backlog):
                assert {event.type for event in stream.events} <= {"message", "hello"}


async def _insert(own: Rig) -> None:
    async with own.sql() as sql:
        for number, text in enumerate(TEXTS):
            await sql.execute(
                "INSERT INTO notifications (user_id, key, message, channel_type, data) VALUES (1, %s, %s, %s, %s)",
                (text, text, text, Jsonb(DATA[number % len(DATA)])),
            )


async def _has_all(stream: EventSource, times: int) -> None:
    await stream.until(lambda: len(stream.notifications) >= times * len(TEXTS))
    for number, event in enumerate(stream.notifications):
        text = TEXTS[number % len(TEXTS)]
        assert [event.json[name] for name in ("key", "message", "channel_type")] == [text] * 3
        assert event.json["data"] == DATA[number % len(TEXTS) % len(DATA)]


# What no client of ours could read as a time or a number, and what is too much for Redis or for a parser.
HARD = {
    "at the end of time": ("'x'", "NULL", "'infinity'"),
    "before time": ("'x'", "NULL", "'-infinity'"),
    "before Christ": ("'x'", "NULL", "'4000-01-01 00:00:00+00 BC'"),
    "after all calendars": ("'x'", "NULL", "'294276-12-31 23:59:59+00'"),
    "a thousand deep": ("'x'", "(repeat('[', 1000) || repeat(']', 1000))::jsonb", "now()"),
    "a thousand objects deep": ("'x'", """(repeat('{"a":', 1000) || '1' || repeat('}', 1000))::jsonb""", "now()"),
    "a number of many digits": ("'x'", "repeat('9', 5000)::jsonb", "now()"),
    "20 MB": ("repeat('é', 10000000)", "NULL", "now()"),
    "18 MB of escapes": ("repeat(chr(1), 3000000)", "NULL", "now()"),
}


@pytest.mark.slow
async def test_rows_that_are_hard_to_read_or_send_arrive_and_hold_up_nobody(own: Rig) -> None:
    """Row 37: on streams, live and from the backlog, in the list and one by one; all others get theirs meanwhile."""
    await own.bridge()
    url, web = await own.web()
    async with (
        under_load(own, url) as load,
        open_stream(f"{url}/events/7?since=now") as other,
        raw_stream(f"{url}/events/99?since=now") as live,
        own.sql() as sql,
    ):
        await other.live()
        await live.until(b"event: hello")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_says_all(live))  # without a break: a reader that lags is ended
            for name, (message, data, created_at) in HARD.items():
                await sql.execute(
                    "INSERT INTO notifications (user_id, key, message, data, created_at) "
                    f"VALUES (99, '{name}', {message}, {data}, {created_at})"
                )
                assert await delivery(own, other, 7, rows=3) < 5
        async with raw_stream(f"{url}/events/99") as backlog:
            await _says_all(backlog)
        await _is_listed(url)
        await load.flows()
        load.writer.unharmed()
    assert web.process is not None
    assert web.process.returncode is None
    assert "Traceback" not in web.log


async def _says_all(stream: RawStream) -> None:
    for name in HARD:
        await stream.until(b'"key":' + json.dumps(name).encode(), timeout=60)


async def _is_listed(url: str) -> None:
    async with httpx.AsyncClient(base_url=url, timeout=60) as http:
        for name in HARD:
            row = await http.get(f"/read/{name}")
            assert row.status_code == httpx.codes.OK, name
        page = await http.get("/notifications", params={"user_id": 99})
        assert page.status_code == httpx.codes.OK
        assert b'"infinity"' in page.content or b"next" in page.content
