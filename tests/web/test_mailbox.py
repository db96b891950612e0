"""One stream's queue: bounded, in order, each event once, and never in anybody's way."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.waiting import running, turns
from web import mailbox as module
from web.mailbox import Delivery, Mailbox


def box(limit: int = 10, *, live: bool = True) -> Mailbox:
    made = Mailbox("1", limit)
    made.live = live
    return made


def put(mailbox: Mailbox, *seqs: int, size: int = 10) -> None:
    for seq in seqs:
        mailbox.put(Delivery(seq, b"x" * size), seq - 1)


def seqs(deliveries: list[Delivery]) -> list[int]:
    return [delivery.seq for delivery in deliveries]


def test_what_waits_comes_out_once_and_only_above_the_last() -> None:
    """Rule 4.2: the stream, taking it out, compares with its own last only. A batch that was sent again comes here twice."""
    mailbox = box()
    put(mailbox, 3, 4, 5, 3, 4, 5, 6)
    assert seqs(mailbox.take_above(3)) == [4, 5, 6]
    assert mailbox.empty
    assert mailbox.take_above(0) == []


@given(st.lists(st.integers(0, 20), max_size=40), st.integers(0, 20))
def test_what_is_taken_rises_strictly_from_above_the_last(given_seqs: list[int], last: int) -> None:
    mailbox = box(100)
    put(mailbox, *given_seqs)
    taken = seqs(mailbox.take_above(last))
    assert taken == sorted(set(taken))
    assert all(seq > last for seq in taken)
    assert set(taken) >= ({max(given_seqs)} if given_seqs and max(given_seqs) > last else set())


def test_one_too_many_drops_all_and_ends_being_live() -> None:
    """Rule 5.2: drop it and read on from Postgres."""
    mailbox = box(limit=3)
    put(mailbox, 1, 2, 3)
    assert (mailbox.live, mailbox.overflowed) == (True, False)
    put(mailbox, 4)
    assert (mailbox.live, mailbox.overflowed, mailbox.empty) == (False, True, False)
    put(mailbox, 5)
    assert mailbox.take_above(0) == []
    mailbox.begin_anew()
    assert (mailbox.live, mailbox.overflowed, mailbox.empty) == (False, False, True)
    put(mailbox, 6)
    assert seqs(mailbox.take_above(0)) == [6]


def test_bytes_are_bounded_too_but_one_event_always_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LIMIT_BYTES", 100)
    mailbox = box()
    put(mailbox, 1, size=500)
    assert not mailbox.overflowed
    assert seqs(mailbox.take_above(0)) == [1]
    put(mailbox, 2, 3, size=50)
    assert not mailbox.overflowed
    put(mailbox, 4, size=1)
    assert mailbox.overflowed


async def test_a_live_stream_wakes_for_an_event() -> None:
    mailbox = box()
    async with running(mailbox.wait(10)) as [waiting]:
        await turns()
        assert not waiting.done()
        put(mailbox, 1)
        assert await waiting


async def test_it_wakes_for_an_overflow_and_for_the_end() -> None:
    overflowing, ending = box(limit=0), box()
    async with running(overflowing.wait(10), ending.wait(10)) as waiting:
        await turns()
        put(overflowing, 1)
        ending.end("stopping")
        async with asyncio.timeout(5):
            assert [await task for task in waiting] == [True, True]


async def test_what_waits_already_is_not_waited_for() -> None:
    full, not_live = box(), box(live=False)
    put(full, 1)
    assert await full.wait(10)
    assert await not_live.wait(10)


async def test_silence_is_told() -> None:
    assert not await box().wait(0.001)


def test_the_first_reason_to_end_stays_and_a_silent_one_stays_silent() -> None:
    mailbox = box()
    mailbox.end("the log lost its tail", silently=True)
    mailbox.end("stopping")
    assert (mailbox.ending, mailbox.silent_end) == ("the log lost its tail", True)
