"""Nothing is lost, doubled or out of order on any walk through the model; and a walk finds each rule that is broken."""

from __future__ import annotations

import pytest

from tests.model.rules import RULES, Rule
from tests.model.walk import walk

FEW, MANY, AT_MOST = 40, 250, 300


@pytest.mark.parametrize("seeds", [range(start, start + 10) for start in range(0, FEW, 10)], ids=str)
def test_the_promise_is_kept_on_every_walk(seeds: range) -> None:
    """I1 to I5, I8, I9, with everything that can break breaking; `python -m tests.model --seed N --walks 1 --trace` shows a walk."""
    assert {seed: found for seed in seeds if (found := walk(seed).violations)} == {}


@pytest.mark.slow
def test_the_promise_is_kept_on_many_walks() -> None:
    assert {seed: found for seed in range(FEW, FEW + MANY) if (found := walk(seed).violations)} == {}


def test_a_walk_is_its_seed() -> None:
    """The same steps, and the same end."""
    first, second = walk(7, trace=True), walk(7, trace=True)
    assert first.trace == second.trace
    assert (first.rows, first.events, first.seconds) == (second.rows, second.events, second.seconds)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_each_rule_still_stands_where_it_is_broken(rule: Rule) -> None:
    """Else its edit must be fitted to the code that has moved."""
    assert rule.texts()


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_without_a_rule_a_walk_fails(rule: Rule) -> None:
    with rule.broken() as broken:
        assert any(broken.walk(seed, faults=rule.faults).violations for seed in range(AT_MOST))
