"""A schedule is its seed: drawn twice it is the same, written and read again too; and it holds nothing that can't be done."""

from __future__ import annotations

from itertools import combinations

import pytest

from tests.chaos.faults import FAULTS
from tests.chaos.schedule import SETTLES, Schedule, draw, draw_shape, draw_soak


@pytest.mark.parametrize("seed", range(20))
def test_a_seed_is_a_schedule(seed: int) -> None:
    shape = draw_shape(seed)
    drawn = draw(seed, 120, shape, FAULTS)
    assert len(drawn.faults) > 10
    assert drawn == draw(seed, 120, draw_shape(seed), FAULTS)
    assert drawn == Schedule.from_json(drawn.to_json())
    assert drawn.faults != draw(seed + 1, 120, shape, FAULTS).faults


@pytest.mark.parametrize("seed", range(20))
def test_no_two_faults_touch_the_same_thing_at_once_and_none_is_impossible(seed: int) -> None:
    shape = draw_shape(seed)
    drawn = draw(seed, 300, shape, FAULTS)
    for one, other in combinations(drawn.faults, 2):
        if one.at <= other.end + SETTLES and other.at <= one.end + SETTLES:
            assert not FAULTS[one.name].target(one.arguments) & FAULTS[other.name].target(other.arguments)
    assert all(FAULTS[fault.name].possible(shape) and fault.end <= 300 for fault in drawn.faults)


def test_every_kind_of_fault_is_drawn_sooner_or_later() -> None:
    drawn = {fault.name for seed in range(60) for fault in draw(seed, 120, draw_shape(seed), FAULTS).faults}
    assert drawn == set(FAULTS)


def test_a_shorter_schedule_runs_no_longer_than_its_faults() -> None:
    drawn = draw(7, 120, draw_shape(7), FAULTS)
    shorter = drawn.with_faults(drawn.faults[1:3])
    assert len(shorter.faults) == 2
    assert shorter.seconds < 60
    assert (shorter.seed, shorter.shape) == (drawn.seed, drawn.shape)


def test_a_soak_restarts_everything_again_and_again() -> None:
    soak = draw_soak(1, 600, draw_shape(1), FAULTS, ["kill", "reset"])
    assert sum(fault.name == "restart_all" for fault in soak.faults) > 5
    assert soak == Schedule.from_json(soak.to_json())
