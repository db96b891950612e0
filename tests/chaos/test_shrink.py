"""Shrinking finds a shortest failing list, asks only while there is time, and never returns one that was not seen to fail."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.chaos.shrink import shrink


@given(st.integers(1, 30), st.data())
async def test_it_finds_exactly_what_it_takes(count: int, data: st.DataObject) -> None:
    culprits = data.draw(st.sets(st.integers(0, count - 1), min_size=1, max_size=3))

    async def fails(items: list[int]) -> bool:
        return culprits <= set(items)

    assert await shrink(range(count), fails) == sorted(culprits)


async def test_one_culprit_of_many_takes_few_runs() -> None:
    runs = 0

    async def fails(items: list[int]) -> bool:
        nonlocal runs
        runs += 1
        return 13 in items

    assert await shrink(range(64), fails) == [13]
    assert runs <= 12


@pytest.mark.parametrize("budget", range(6))
async def test_out_of_time_it_returns_the_shortest_that_failed(budget: int) -> None:
    seen = [list(range(16))]

    async def fails(items: list[int]) -> bool:
        if 3 in items and 4 in items:
            seen.append(items)
            return True
        return False

    left = iter(range(budget))
    result = await shrink(range(16), fails, lambda: next(left, None) is not None)
    assert result == min(seen, key=len)
