"""What is done to a run, and when: drawn from a seed, written as JSON, read again. Pure.

Several faults may overlap, but none with another that touches the same place, wire or server: they would put it right for each other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from random import Random
from typing import Any, Protocol, TypeAlias

from tests.chaos.ensemble import Shape

Json: TypeAlias = Any

FIRST = 4.0  # seconds: before that everything is to be seen working
PAUSE = 2.5  # mean seconds between two faults
STORM, CALM = 25.0, 13.0  # after so many seconds of faults so many without: then everything must have healed
SETTLES = 4.0  # seconds that putting right may take, before the same thing is broken again
_DARKEN_ALL = ("kill_postgres", "restart_postgres", "freeze_postgres", "kill_redis", "freeze_redis", "cut_off")
LENGTHS = (0.0, 0.0, 0.3, 1.0, 3.0, 5.0, 12.0)


class Kind(Protocol):
    """What a schedule needs to know of a fault: see tests.chaos.fault.Fault."""

    @property
    def possible(self) -> Any: ...
    @property
    def postgres(self) -> bool: ...
    def draw(self, rng: Random, shape: Shape) -> dict[str, Json]: ...
    def target(self, arguments: dict[str, Json]) -> set[str]: ...


@dataclass(frozen=True, slots=True)
class Planned:
    """One fault: begins `at` seconds after the start of the run and is put right `seconds` later."""

    name: str
    at: float
    seconds: float
    arguments: dict[str, Json]

    @property
    def end(self) -> float:
        return self.at + self.seconds

    def darkens(self, web: str) -> bool:
        """Does this web process reach no Postgres or no Redis meanwhile?"""
        if self.name in _DARKEN_ALL:
            return True
        if self.name in ("black_hole", "hold", "refuse"):
            hears = self.arguments.get("lost") == "requests"  # what Redis publishes comes all the same
            return self.arguments["wire"] in (f"{web}-postgres", *([] if hears else [f"{web}-redis"]))
        return self.name == "isolate" and self.arguments["place"] == web


@dataclass(frozen=True, slots=True)
class Schedule:
    """All that happens to a run of so many seconds on an ensemble of that shape; `seed` also moves writers and clients."""

    seed: int
    seconds: float
    shape: Shape = field(default_factory=Shape)
    faults: list[Planned] = field(default_factory=list)

    def with_faults(self, faults: list[Planned]) -> Schedule:
        """The same run with these instead, and no longer than they need."""
        seconds = max((fault.end for fault in faults), default=0.0) + FIRST
        return replace(self, faults=sorted(faults, key=lambda fault: fault.at), seconds=min(self.seconds, seconds))

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str) -> Schedule:
        found = json.loads(text)
        faults = [Planned(**fault) for fault in found["faults"]]
        return cls(found["seed"], found["seconds"], Shape(**found["shape"]), faults)


def draw_shape(seed: int) -> Shape:
    """An ensemble: with a standby or a replica or without, one bucket or several."""
    rng = Random(f"{seed} shape")
    return Shape(
        webs=rng.choice([2, 2, 3]),
        standby=rng.choice(["none", "async", "sync"]),
        replica=rng.random() < 0.5,
        buckets=rng.choice([1, 1, 3]),
    )


def draw(seed: int, seconds: float, shape: Shape, kinds: Mapping[str, Kind]) -> Schedule:
    """Faults until shortly before the end, of the kinds that are possible here. Postgres itself is broken in one of four at most."""
    rng = Random(f"{seed} schedule")
    own = sorted(name for name, kind in kinds.items() if kind.possible(shape) and kind.postgres)
    others = sorted(name for name, kind in kinds.items() if kind.possible(shape) and not kind.postgres)
    planned: list[Planned] = []
    at, calm = FIRST, FIRST + STORM
    while at < seconds - 1:
        name = rng.choice(own if (own and rng.random() < 0.25) or not others else others)
        length = min(rng.choice(LENGTHS), seconds - at)
        drawn = Planned(name, round(at, 2), round(length, 2), kinds[name].draw(rng, shape))
        if not any(_collide(drawn, one, kinds) for one in planned):
            planned.append(drawn)
        at += rng.expovariate(1 / PAUSE)
        if at > calm:
            at = max(one.end for one in planned) + CALM
            calm = at + STORM
    return Schedule(seed, seconds, shape, planned)


def draw_soak(seed: int, seconds: float, shape: Shape, kinds: Mapping[str, Kind], light: list[str]) -> Schedule:
    """Everything restarted in random order again and again, and light faults between."""
    rng = Random(f"{seed} soak")
    planned: list[Planned] = []
    at = FIRST
    while at < seconds - 60:
        order = kinds["restart_all"].draw(rng, shape)
        planned.append(Planned("restart_all", round(at, 2), 0.0, order))
        at += 30
        for _ in range(3):
            name = rng.choice(light)
            planned.append(Planned(name, round(at, 2), rng.choice([0.0, 1.0, 3.0]), kinds[name].draw(rng, shape)))
            at += rng.uniform(6, 12)
    return Schedule(seed, seconds, shape, planned)


def _collide(one: Planned, other: Planned, kinds: Mapping[str, Kind]) -> bool:
    apart = one.at > other.end + SETTLES or other.at > one.end + SETTLES
    return not apart and bool(kinds[one.name].target(one.arguments) & kinds[other.name].target(other.arguments))
