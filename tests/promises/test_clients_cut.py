"""Clients cut off in the middle of an event, after every number of bytes of it: row 25 of the fault matrix in docs/delivery.md."""

from __future__ import annotations

import asyncio
import re
from urllib.parse import urlsplit

import pytest

from tests.clients.kinds import Kind, browser, by_the_standard, eventsource, fetch_event_source, httpx_sse
from tests.rig import Rig
from tests.waiting import until
from tests.wire import Wire, wire

pytestmark = pytest.mark.slow

ROWS = 400
PATH = "/events/1?since=all"
# Beyond one event and what its surroundings vary by.
SLACK = 12
# It notes an id as soon as its line is whole, before the event is: a cut between the last two bytes loses the event. The cuts below come to the
# end of an event twice, at the first and at the second of a response; and once more if the length of what is left to send
# (RFC 9112, 7.1) has a digit less from then on, so that all that follows comes a byte sooner, or the ids in the events one more.
FORGETFUL: dict[Kind, int] = {fetch_event_source: 4}


@pytest.mark.parametrize("kind", [by_the_standard, httpx_sse, browser, eventsource, fetch_event_source])
async def test_a_client_cut_after_any_byte_of_an_event_gets_each_event_once(own: Rig, kind: Kind) -> None:
    """It comes back with the Last-Event-ID it holds: an event that was not whole comes again, one that was does not."""
    texts = [f"row {number:03}" for number in range(ROWS)]
    await own.bridge()
    url, _ = await own.web(retry="0.05")
    await own.insert(1, *texts)
    first, length = await _first_event(url)
    async with wire(url) as way:
        way.cut_after(first - SLACK)
        async with kind(way.url, PATH) as client:
            for size in range(first - SLACK, first + length + SLACK):
                await _cut(way, size)
            way.heal()
            await until(lambda: client.messages[-1:] == texts[-1:])
            lost = [text for text in texts if text not in client.messages]
            assert len(lost) <= FORGETFUL.get(kind, 0), lost
            assert client.messages == [text for text in texts if text not in lost]


async def _cut(way: Wire, size: int) -> None:
    """The next connection, after so many bytes. Looking now and then would miss ends: httpx-sse's user comes back at once."""
    ended = way.ended
    way.cut_after(size)
    async with asyncio.timeout(30):
        while way.ended == ended:
            await way.changed()


async def _first_event(url: str) -> tuple[int, int]:
    """Bytes of a response up to the end of its first event, headers included; bytes of that event."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        writer.write(f"GET {PATH} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode())
        said = b""
        while not (event := re.search(rb"data: .*\nid: \d+\n\n", said)):
            said += await reader.read(1000)
    finally:
        writer.close()
    return event.end(), event.end() - event.start()
