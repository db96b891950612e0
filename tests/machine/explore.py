"""Every state that a machine can get into, breadth first, so that the first trace to a broken promise is a shortest one.

Looked at are: every state (`wrong`); every state that nothing but faults leads out of (`owed`); and, once all are known, whether from
every state one is reached without faults in which nothing is owed. The last finds what runs in circles.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

S = TypeVar("S", bound=Hashable)

FAULT = "!"  # begins the label of a step that nobody may count on


class Machine(Protocol[S]):
    """States and the steps between them; a state is a value that can be hashed, and holds all there is."""

    def start(self) -> S:
        """Where everything begins."""

    def steps(self, state: S) -> Iterable[tuple[str, S]]:
        """What can happen next: a label and the state after it."""

    def wrong(self, state: S) -> str | None:
        """The promise that this state breaks."""

    def owed(self, state: S) -> str | None:
        """What is still to be done, in whatever order things happen."""


@dataclass(frozen=True)
class Found:
    """A broken promise, and the labels of a shortest way there."""

    what: str
    trace: tuple[str, ...]


@dataclass(frozen=True)
class Explored:
    """How much there was, and what was found; `found` None: every promise holds in all of it."""

    states: int
    transitions: int
    seconds: float
    found: Found | None


class TooLargeError(Exception):
    """There are more states than were to be looked at."""


@dataclass
class _Space(Generic[S]):
    """States by number, in the order they were found; who was found from whom; what follows without faults."""

    number: dict[S, int] = field(default_factory=dict)
    states: list[S] = field(default_factory=list)
    parents: array[int] = field(default_factory=lambda: array("l"))
    labels: list[str] = field(default_factory=list)
    followers: array[int] = field(default_factory=lambda: array("l"))
    ends: array[int] = field(default_factory=lambda: array("l"))
    settled: bytearray = field(default_factory=bytearray)
    transitions: int = 0

    def add(self, state: S, parent: int, label: str) -> int:
        number = self.number.setdefault(state, len(self.states))
        if number == len(self.states):
            self.states.append(state)
            self.parents.append(parent)
            self.labels.append(label)
        return number

    def found(self, what: str, number: int) -> Found:
        trace = []
        while number:
            trace.append(self.labels[number])
            number = self.parents[number]
        return Found(what, tuple(reversed(trace)))


def explore(machine: Machine[S], *, at_most: int = 2_000_000) -> Explored:
    """All of it, or as far as the first broken promise; raises TooLargeError."""
    began = time.perf_counter()
    space: _Space[S] = _Space()
    space.add(machine.start(), 0, "")
    found = _spread(machine, space, at_most) or _stuck(machine, space)
    return Explored(len(space.states), space.transitions, time.perf_counter() - began, found)


def _spread(machine: Machine[S], space: _Space[S], at_most: int) -> Found | None:
    for here, state in enumerate(space.states):  # it grows meanwhile
        if wrong := machine.wrong(state):
            return space.found(wrong, here)
        if len(space.states) > at_most:
            raise TooLargeError(f"more than {at_most} states")
        first = len(space.followers)
        for label, after in machine.steps(state):
            space.transitions += 1
            there = space.add(after, here, label)
            if not label.startswith(FAULT) and there != here:
                space.followers.append(there)
        space.ends.append(len(space.followers))
        owed = machine.owed(state)
        space.settled.append(owed is None)
        if owed and len(space.followers) == first:
            return space.found(f"at rest, and {owed}", here)
    return None


def _stuck(machine: Machine[S], space: _Space[S]) -> Found | None:
    """The first state from which nothing but faults leads to one where nothing is owed."""
    good = space.settled
    changed = True
    while changed:
        changed = False
        for here in reversed(range(len(good))):
            begin = space.ends[here - 1] if here else 0
            if not good[here] and any(good[there] for there in space.followers[begin : space.ends[here]]):
                good[here] = changed = True
    bad = good.find(0)
    return None if bad < 0 else space.found(f"whatever follows, {machine.owed(space.states[bad])}", bad)
