"""In a flood events are gathered for one write; never for somebody who was quiet, never for long, and nobody is left asleep."""

from __future__ import annotations

import asyncio

import pytest

from tests.clocks import HandClock
from tests.waiting import turns
from web import gathering as module
from web.gathering import ENOUGH, FLOOD_BYTES, FLOOD_ITEMS, LONGEST, Gathering
from web.mailbox import Mailbox


@pytest.fixture(autouse=True)
def _no_end_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GAP", 1000.0)


class Scene:
    """Streams that wait, and turns of buckets that have something for them."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.gathering = Gathering(self.clock)

    def stream(self, *, quiet: float = 0.0) -> tuple[Mailbox, asyncio.Future[bool]]:
        """A live one that has written nothing for `quiet` seconds, and its wait."""
        mailbox = Mailbox("1", 1000)
        mailbox.live = True
        mailbox.took = self.clock.now() - quiet
        return mailbox, mailbox.woken()

    async def turn(self, *mailboxes: Mailbox, items: int = FLOOD_ITEMS, size: int = 0, buckets: int = 1) -> None:
        """Of each bucket, in one turn of the event loop."""
        for mailbox in mailboxes:
            self.gathering.note(mailbox, self.clock.now())
        for _ in range(buckets):
            self.gathering.end_turn(items, size)
        await turns(2)


async def test_without_a_flood_everybody_is_woken_at_the_end_of_the_turn() -> None:
    scene = Scene()
    mailbox, waits = scene.stream()
    await scene.turn(mailbox, items=FLOOD_ITEMS - 1, size=FLOOD_BYTES - 1)
    assert waits.done()


async def test_in_a_flood_who_wrote_a_moment_ago_waits_and_who_was_quiet_does_not() -> None:
    for flood in ({"items": FLOOD_ITEMS}, {"items": 1, "size": FLOOD_BYTES}):
        scene = Scene()
        (busy, waits), (quiet, woken) = scene.stream(), scene.stream(quiet=LONGEST * 1.1)
        await scene.turn(busy, quiet, **flood)
        assert (waits.done(), woken.done()) == (False, True)


async def test_events_enough_for_a_write_end_the_wait() -> None:
    scene = Scene()
    (one, first), (other, second) = scene.stream(), scene.stream()
    await scene.turn(*[one, other] * (ENOUGH - 1))
    assert not first.done()
    await scene.turn(one, other)
    assert first.done()
    assert second.done()


async def test_nobody_waits_for_longer_than_that() -> None:
    scene = Scene()
    (one, first), (other, second) = scene.stream(), scene.stream()
    await scene.turn(one)
    scene.clock.advance(LONGEST * 0.9)
    other.took = scene.clock.now()
    await scene.turn(other)
    assert not first.done()
    scene.clock.advance(LONGEST * 0.11)
    await scene.turn()
    assert first.done()
    assert second.done()


async def test_a_flood_is_one_of_all_buckets_together() -> None:
    """From its second turn on: the first is that of a bucket which can't know of the others."""
    scene = Scene()
    mailbox, waits = scene.stream()
    await scene.turn(items=2, buckets=FLOOD_ITEMS // 2)
    await scene.turn(mailbox, items=2, buckets=FLOOD_ITEMS // 2)
    assert not waits.done()
    await scene.turn(items=2, buckets=FLOOD_ITEMS // 2 - 1)
    assert waits.done()


async def test_a_flood_after_which_nothing_comes_wakes_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GAP", 0.0)
    scene = Scene()
    mailbox, waits = scene.stream()
    await scene.turn(mailbox)
    async with asyncio.timeout(1):
        assert await waits


async def test_what_cant_wait_wakes_all() -> None:
    scene = Scene()
    mailbox, waits = scene.stream()
    await scene.turn(mailbox)
    assert not waits.done()
    scene.gathering.end()
    assert waits.done()
