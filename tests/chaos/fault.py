"""One kind of fault: what it does, which arguments it may get, and what it touches; and the register that all of them are in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from random import Random
from typing import Any, TypeAlias

from tests.chaos.ensemble import Ensemble, Shape

Json: TypeAlias = Any
# Draws one value of a parameter for an ensemble of that shape.
Draw: TypeAlias = Callable[[Random, Shape], Json]
Inflict: TypeAlias = Callable[..., AbstractAsyncContextManager[None]]
Targets: TypeAlias = Callable[[dict[str, Json]], set[str]]


@dataclass(frozen=True, slots=True)
class Fault:
    """Broken on entry, put right on exit: `async with FAULTS[name](ensemble, **arguments):`.

    `postgres`: writers may fail meanwhile, for it is Postgres that is broken. `forgets`: the end of what was committed may be lost.
    """

    name: str
    inflict: Inflict
    parameters: Mapping[str, Draw]
    targets: Targets
    possible: Callable[[Shape], bool]
    postgres: bool
    forgets: bool

    def draw(self, rng: Random, shape: Shape) -> dict[str, Json]:
        """Arguments, each a plain value, for an ensemble of that shape."""
        return {name: draw(rng, shape) for name, draw in self.parameters.items()}

    def target(self, arguments: dict[str, Json]) -> set[str]:
        """Names of places, wires and servers that no other fault may touch at the same time: they would put it right for each other."""
        return self.targets(arguments)

    def __call__(self, ensemble: Ensemble, **arguments: Json) -> AbstractAsyncContextManager[None]:
        return self.inflict(ensemble, **arguments)


FAULTS: dict[str, Fault] = {}
MANY = 9  # bridges or web processes at most
BRIDGES = {f"bridge{n}" for n in range(MANY)}


def fault(
    *targets: str,
    on: Callable[[Shape], bool] = lambda _: True,
    postgres: bool = False,
    forgets: bool = False,
    touches: Targets | None = None,
    **parameters: Draw,
) -> Callable[[Inflict], Fault]:
    """Register a context manager as the fault of its name. `targets`: names, or names of parameters whose values are names."""

    def named(arguments: dict[str, Json]) -> set[str]:
        return {str(arguments.get(target, target)) for target in targets}

    def register(inflict: Inflict) -> Fault:
        name = inflict.__name__.rstrip("_")
        made = Fault(name, inflict, parameters, touches or named, on, postgres, forgets)
        return FAULTS.setdefault(name, made)

    return register


def one_of(*values: Json) -> Draw:
    """Any of these."""
    return lambda rng, _: rng.choice(values)


def any_place(rng: Random, shape: Shape) -> str:
    """The name of a bridge or web process."""
    return rng.choice(shape.places)


def any_wire(rng: Random, shape: Shape) -> str:
    """The name of a wire between parts of Rowcast."""
    return rng.choice(shape.wires)
