"""The shortest list found that still fails: delta debugging (Zeller's ddmin), for as long as there is time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from itertools import pairwise
from typing import TypeVar

T = TypeVar("T")


async def shrink(
    items: Sequence[T], fails: Callable[[list[T]], Awaitable[bool]], in_time: Callable[[], bool] = lambda: True
) -> list[T]:
    """Fewer of the items, in their order, for which `fails` still says so; `items` must fail. Asks no more once `in_time` says no."""
    left, parts = list(items), 2
    while len(left) > 1 and in_time():
        smaller = await _first_failing(_cuts(left, parts), fails, in_time)
        if smaller is not None:
            left, parts = smaller, max(parts - 1, 2)
        elif parts >= len(left):
            break
        else:
            parts = min(parts * 2, len(left))
    return left


def _cuts(items: list[T], parts: int) -> list[list[T]]:
    """Each of so many parts alone, then all but each of them, nothing twice."""
    edges = [round(number * len(items) / parts) for number in range(parts + 1)]
    pieces = [items[start:end] for start, end in pairwise(edges)]
    rests = [items[:start] + items[end:] for start, end in pairwise(edges)]
    return pieces if parts == 2 else pieces + rests


async def _first_failing(
    candidates: list[list[T]], fails: Callable[[list[T]], Awaitable[bool]], in_time: Callable[[], bool]
) -> list[T] | None:
    for candidate in candidates:
        if in_time() and await fails(candidate):
            return candidate
    return None
