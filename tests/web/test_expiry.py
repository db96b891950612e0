"""A stream ends when its token does: cleanly, with its position, whatever it is at."""

from __future__ import annotations

import asyncio

import pytest

from core.clock import SystemClock
from rowcast.embedded import Server
from tests.clocks import HandClock
from tests.db.databases import Databases
from tests.waiting import until
from tests.web.air import Air, Reader, open_air
from web import expiry as module
from web.auth.caller import Caller
from web.expiry import Expiry
from web.mailbox import Mailbox
from web.stream import Since


def token(seconds: float) -> Caller:
    """That of user 1, with so many seconds left."""
    return Caller("1", expires_at=SystemClock().time() + seconds)


async def rest(reader: Reader) -> bytes:
    """What comes until the end."""
    read = len(reader.raw)
    async with asyncio.timeout(10):
        await reader.run()
    return reader.raw[read:]


async def test_a_live_stream_ends_with_its_token_at_its_position(databases: Databases, valkey: Server) -> None:
    with databases.migrated() as url:
        async with open_air(url, valkey.url) as air:
            [seq] = await air.send(1)
            began = asyncio.get_running_loop().time()
            async with air.by_hand(1, Since.ALL, caller=token(0.5)) as reader:
                await reader.until_hello()
                retry, position, end = (await rest(reader)).split(b"\n", 2)
                assert (retry[:7], position, end) == (b"retry: ", b"", b"id: %d\n\n" % seq)
            assert 0.4 < asyncio.get_running_loop().time() - began < 5
            await _in_the_middle_of_a_backlog(air)


async def _in_the_middle_of_a_backlog(air: Air) -> None:
    await air.log.add(*[1] * 1200)
    async with air.by_hand(1, Since.ALL, caller=token(0.3)) as reader:
        while not reader.seqs:
            await reader.read()
        await asyncio.sleep(0.4)  # the reader is slow
        assert (await rest(reader)).endswith(b"\nid: %d\n\n" % reader.seqs[-1])
        assert len(reader.seqs) < 1200
        assert not reader.of_type("hello")


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox("1", 10)


async def test_a_token_within_its_leeway_lasts_to_its_end(clock: HandClock, mailbox: Mailbox) -> None:
    expiry = Expiry(mailbox, clock.time() - 3, 5, clock)
    assert expiry._timer is not None
    assert 1.9 < expiry._timer.when() - asyncio.get_running_loop().time() < 2.1
    expiry.cancel()


async def test_a_clock_that_jumps_is_noticed(
    clock: HandClock, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a laptop was asleep: timers stood still meanwhile."""
    monkeypatch.setattr(module, "LOOK_EVERY", 0.01)
    Expiry(mailbox, clock.time() + 3600, 5, clock)
    clock.advance(3500)
    await asyncio.sleep(0.05)
    assert mailbox.ending is None
    clock.advance(100)
    await until(lambda: mailbox.ending == "its token has expired")


async def test_a_stream_that_goes_leaves_no_timer(databases: Databases, valkey: Server) -> None:
    with databases.migrated() as url:
        async with open_air(url, valkey.url) as air:
            async with air.by_hand(1, Since.NOW, caller=token(3600)) as reader:
                await reader.until_hello()
                assert _timers() == 1
            assert _timers() == 0
            async with air.by_hand(1, Since.NOW) as reader:
                await reader.until_hello()
                assert _timers() == 0


def _timers() -> int:
    scheduled = asyncio.get_running_loop()._scheduled  # type: ignore[attr-defined]
    return sum(not handle.cancelled() and "Expiry" in repr(handle) for handle in scheduled)
