"""One stream's queue: bounded, in order, each event once, and never in anybody's way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.waiting import turns
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


def test_it_says_once_that_it_gets_half_full(monkeypatch: pytest.MonkeyPatch) -> None:
    by_number = box(10)
    assert [by_number.put(Delivery(seq, b"x"), 0) for seq in range(1, 11)] == [False] * 4 + [True] + [False] * 5
    monkeypatch.setattr(module, "LIMIT_BYTES", 100)
    by_bytes = box(1000)
    assert [by_bytes.put(Delivery(seq, b"x" * 20), 0) for seq in range(1, 6)] == [False, False, True, False, False]


async def test_a_live_stream_is_woken_for_an_event() -> None:
    mailbox = box()
    waiting = mailbox.woken()
    put(mailbox, 1, 2)
    await turns()
    assert not waiting.done()
    mailbox.wake()
    assert await waiting


async def test_it_wakes_for_an_overflow_and_for_the_end() -> None:
    overflowing, ending = box(limit=0), box()
    waiting = [overflowing.woken(), ending.woken()]
    put(overflowing, 1)
    ending.end("stopping")
    assert [await one for one in waiting] == [True, True]


async def test_what_waits_already_is_not_waited_for() -> None:
    full, not_live = box(), box(live=False)
    put(full, 1)
    assert await full.woken()
    assert await not_live.woken()


async def test_a_heartbeat_wakes_who_waits_and_no_other() -> None:
    mailbox = box()
    mailbox.beat(7)
    waiting = mailbox.woken()
    assert not waiting.done()
    mailbox.beat(8)
    assert not await waiting
    assert mailbox.wrote == 8


async def test_who_is_woken_and_cancelled_at_once_harms_nobody() -> None:
    mailbox = box()
    mailbox.woken().cancel()
    put(mailbox, 1)
    assert await mailbox.woken()


def test_the_first_reason_to_end_stays_and_a_silent_one_stays_silent() -> None:
    mailbox = box()
    mailbox.end("the log lost its tail", silently=True)
    mailbox.end("stopping")
    assert (mailbox.ending, mailbox.silent_end) == ("the log lost its tail", True)
