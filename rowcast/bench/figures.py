"""Figures: named values with a unit, one a round; what they should reach; and everything of a run, to and from JSON."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from rowcast.bench.reckoning import median

Bound = Literal["at least", "at most"]
# The unit of a ratio.
TIMES = "×"  # noqa: RUF001 -- a sign of multiplication is meant


@dataclass(frozen=True, slots=True)
class Goal:
    """What a figure's median should be."""

    bound: Bound
    value: float

    def reached(self, value: float) -> bool:
        return value >= self.value if self.bound == "at least" else value <= self.value


def at_least(value: float) -> Goal:
    return Goal("at least", value)


def at_most(value: float) -> Goal:
    return Goal("at most", value)


@dataclass(frozen=True, slots=True)
class Figure:
    """One quantity: `values` has one for each round."""

    name: str
    unit: str
    values: tuple[float, ...]
    goal: Goal | None = None

    @property
    def median(self) -> float:
        return median(self.values)

    @property
    def low(self) -> float:
        return min(self.values, default=math.nan)

    @property
    def high(self) -> float:
        return max(self.values, default=math.nan)

    @property
    def reached(self) -> bool | None:
        """Whether the median is where it should be; None if nobody said where."""
        return self.goal.reached(self.median) if self.goal else None


@dataclass(slots=True)
class Line:
    """One line of a plot."""

    name: str
    points: list[tuple[float, float]]
    dashed: bool = False


@dataclass(slots=True)
class Plot:
    """Lines over two axes with their units; `log_x` and `log_y` for ranges of several powers of ten.

    Lines whose names end in the same words after a comma are of one kind, and of one colour.
    """

    title: str
    x: str
    y: str
    lines: list[Line]
    log_x: bool = False
    log_y: bool = False


@dataclass(slots=True)
class Outcome:
    """What one measurement found: what it did in a sentence, its figures, its plots, and what could not be run, with the reason."""

    name: str
    what: str
    figures: list[Figure] = field(default_factory=list)
    plots: list[Plot] = field(default_factory=list)
    not_run: list[str] = field(default_factory=list)

    def add(self, name: str, unit: str, values: list[float] | tuple[float, ...], goal: Goal | None = None) -> Figure:
        """Note one figure; it is returned."""
        made = Figure(name, unit, tuple(values), goal)
        self.figures.append(made)
        return made


@dataclass(slots=True)
class Report:
    """Everything of a run."""

    machine: dict[str, str]
    versions: dict[str, str]
    rounds: int
    quick: bool
    outcomes: list[Outcome] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """As plain objects, each figure with its median, spread and verdict."""
        made = asdict(self)
        for outcome, plain in zip(self.outcomes, made["outcomes"], strict=True):
            plain["figures"] = [_figure(one) for one in outcome.figures]
        return made


def _figure(one: Figure) -> dict[str, Any]:
    return asdict(one) | {"median": one.median, "low": one.low, "high": one.high, "reached": one.reached}


def report_of(plain: dict[str, Any]) -> Report:
    """A report from what `to_json` made of it; raises KeyError or TypeError for anything else."""
    outcomes = [_outcome_of(one) for one in plain["outcomes"]]
    return Report(plain["machine"], plain["versions"], plain["rounds"], plain["quick"], outcomes)


def _outcome_of(plain: dict[str, Any]) -> Outcome:
    figures = [
        Figure(one["name"], one["unit"], tuple(one["values"]), Goal(**one["goal"]) if one["goal"] else None)
        for one in plain["figures"]
    ]
    plots = [
        Plot(
            one["title"],
            one["x"],
            one["y"],
            [Line(line["name"], [(x, y) for x, y in line["points"]], line["dashed"]) for line in one["lines"]],
            one["log_x"],
            one["log_y"],
        )
        for one in plain["plots"]
    ]
    return Outcome(plain["name"], plain["what"], figures, plots, plain["not_run"])
