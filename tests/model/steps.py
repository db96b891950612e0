"""A step: something that can happen now."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias


class Step(NamedTuple):
    """`weight` says how often it is chosen, beside others of its kind."""

    label: str
    do: Callable[[], None]
    weight: float = 1.0


Steps: TypeAlias = list[Step]
