"""How long claims go on past locked rows before they begin again, in numbers."""

from __future__ import annotations

from bridge.walk import PATIENCE, Walk


def blocked(walk: Walk, begin: float, until: float) -> None:
    """A poll, then a claim each second that stamps nothing."""
    walk.begin(begin)
    while begin < until:
        begin = min(begin + 1, until)
        walk.claimed(0, more=True, now=begin)


def test_nothing_locked_a_poll_is_never_too_early() -> None:
    walk = Walk(100.0)
    walk.begin(100.0)
    assert not walk.goes_on(100.0)
    walk.claimed(1000, more=True, now=100.5)
    assert not walk.goes_on(100.5)


def test_a_walk_has_twice_the_time_that_it_was_blocked() -> None:
    walk = Walk(100.0)
    blocked(walk, 100.0, 103.0)
    walk.claimed(1000, more=True, now=103.5)
    assert walk.goes_on(105.9)
    assert not walk.goes_on(106.0)


def test_a_walk_that_came_to_its_end_is_over() -> None:
    walk = Walk(100.0)
    blocked(walk, 100.0, 103.0)
    walk.claimed(0, more=False, now=103.5)
    assert not walk.goes_on(103.5)


def test_a_walk_that_finds_no_end_is_cut_and_the_next_goes_twice_as_far() -> None:
    walk = Walk(0.0)
    begin = 0.0
    for most in (PATIENCE, 2 * PATIENCE, 4 * PATIENCE):
        blocked(walk, begin, begin + most - 1)
        assert walk.goes_on(begin + most - 0.1)
        walk.claimed(0, more=True, now=begin + most)
        assert not walk.goes_on(begin + most)
        begin += most


def test_patience_is_what_it_was_once_a_walk_met_no_locked_rows() -> None:
    walk = Walk(0.0)
    blocked(walk, 0.0, 3 * PATIENCE)
    walk.begin(100.0)
    walk.claimed(0, more=False, now=100.5)
    blocked(walk, 200.0, 200.0 + PATIENCE)
    assert not walk.goes_on(200.0 + PATIENCE)
