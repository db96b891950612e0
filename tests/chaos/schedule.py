"""What is done to a run, and when: drawn from a seed, written as JSON, read again. Pure.

Several faults may overlap, but none with another on the same target (`Fault.target`), which they would put right for each other.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from random import Random
from typing import Any, Protocol, TypeAlias

Json: TypeAlias = Any

FIRST = 4.0  # seconds: before that everything is to be seen working
PAUSE = 3.0  # mean seconds between two faults
LENGTHS = (0.0, 0.0, 0.3, 1.0, 3.0, 5.0, 12.0)


class Kind(Protocol):
    """What a schedule needs to know of a fault."""

    def draw(self, rng: Random, shape: Any) -> dict[str, Json]:
        """Arguments for it, for an ensemble of that shape."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One fault: begins `at` seconds after the start of the run and is put right `seconds` later."""

    name: str
    at: float
    seconds: float
    arguments: dict[str, Json]


@dataclass(frozen=True, slots=True)
class Schedule:
    """All that happens to a run of so many seconds; `seed` also moves writers and clients."""

    seed: int
    seconds: float
    faults: list[Planned] = field(default_factory=list)

    def with_faults(self, faults: list[Planned]) -> Schedule:
        """The same run with these instead."""
        return replace(self, faults=sorted(faults, key=lambda fault: fault.at))

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str) -> Schedule:
        found = json.loads(text)
        return cls(found["seed"], found["seconds"], [Planned(**fault) for fault in found["faults"]])
