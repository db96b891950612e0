"""The protocol holds in every interleaving within the bounds, and every rule of it is needed there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.machine.configurations import BROKEN_IN, CONFIGURATIONS, AnyMachine, Configuration, named
from tests.machine.explore import Explored, TooLargeError, explore
from tests.machine.leading import Leading
from tests.machine.rules import ALL, HARMLESS, NAMES, told
from tests.parts import ROOT

IDS = [configuration.name for configuration in CONFIGURATIONS]


@dataclass
class Watched:
    """A machine, and the first words of all the labels of its steps."""

    machine: AnyMachine
    labels: set[str] = field(default_factory=set)

    def start(self) -> Any:
        return self.machine.start()

    def steps(self, state: Any) -> Iterator[tuple[str, Any]]:
        for label, after in self.machine.steps(state):
            self.labels.add(label)
            yield label, after

    def wrong(self, state: Any) -> str | None:
        return self.machine.wrong(state)

    def owed(self, state: Any) -> str | None:
        return self.machine.owed(state)


@pytest.fixture(scope="module")
def explored() -> dict[str, tuple[Explored, set[str]]]:
    """Every configuration within its usual bounds, with the labels of what happened."""
    results = {}
    for configuration in CONFIGURATIONS:
        machine = Watched(configuration.usual.build(ALL))
        results[configuration.name] = explore(machine), machine.labels
    return results


@pytest.mark.parametrize("name", IDS)
def test_the_protocol_holds(name: str, explored: dict[str, tuple[Explored, set[str]]]) -> None:
    assert explored[name][0].found is None


@pytest.mark.slow
@pytest.mark.parametrize("configuration", CONFIGURATIONS, ids=IDS)
def test_the_protocol_holds_within_larger_bounds_and_the_docs_say_which(configuration: Configuration) -> None:
    result = explore(configuration.larger.build(ALL))
    assert result.found is None
    assert f"| {configuration.name} | {configuration.larger.bounds} | {result.states:,} |" in _docs()


@pytest.mark.parametrize("rule", NAMES)
def test_a_rule_that_is_switched_off_is_found_and_the_docs_say_how_soon(rule: str) -> None:
    result = explore(named(BROKEN_IN[rule]).usual.build(ALL.without(rule)))
    assert result.found is not None
    row = rf"^\| {told(rule)} \| [^|]+ \| {BROKEN_IN[rule]} \| {len(result.found.trace)} \|$"
    assert re.search(row, _docs(), re.MULTILINE), (BROKEN_IN[rule], len(result.found.trace))


@pytest.mark.parametrize(
    ("rule", "name"), [("listen_before_waiting", "falling asleep"), ("term_mark_joins", "two leaders")]
)
def test_what_the_machines_show_to_be_stricter_than_needed(rule: str, name: str) -> None:
    """A claim follows that LISTEN in any case; and a first mark above the position is a hole, which is read."""
    assert rule in HARMLESS
    assert explore(named(name).usual.build(ALL.without(rule))).found is None


def test_a_failover_within_the_second_of_a_lost_term_is_the_known_limit() -> None:
    """docs/delivery.md, When Postgres forgets: what remains."""
    found = explore(Leading(rows=2, faults=1, seconds=4, quick=True)).found
    assert found is not None
    assert "is given to row 1, and was given to row 0" in found.what


STEPS = {
    "publishing": "A stamps|A sends|refused or lost|gets no answer|held up|late: |drops all|A beats|can't be sent",
    "two leaders": "B takes over|A dies|B sends|B beats|finds a hole",
    "hearing": "cut off|connects|confirms|hidden|asked for|overflows|unasked|snapshot|rows out|position",
    "a stream starts": "comes|is subscribed|counts as|begins|its snapshot|writes|reads on|goes live|takes what|ends it at",
    "a stream returns": "client is cut off|ends it at None|its queue overflows",
    "a web process starts": "not joined: look",
    "two streams start": "v: goes live",
    "rows deleted": "all rows are deleted",
    "old snapshots": "an old snapshot|a re-read: an old snapshot",
    "stamping": "inserts|commits|rolls back|is locked|let go|its snapshot|it stamps|poll is due",
    "small claims": "poll is due",
    "leading": "gets the lock|begins a term|stamps|ends|killed|failover|standby has|a second",
    "falling asleep": "insert|look|commit|roll back|LISTEN is lost|new leader|busy again|woken|claim again|last claim",
}


@pytest.mark.parametrize("name", IDS)
def test_all_that_can_happen_happens(name: str, explored: dict[str, tuple[Explored, set[str]]]) -> None:
    """Else a machine might hold because it does nothing."""
    labels = explored[name][1]
    assert [step for step in STEPS[name].split("|") if not any(step in label for label in labels)] == []


@dataclass(frozen=True)
class Clocks:
    """Two hands that each go from 0 to `top`, one step at a time or two; at `bad` a promise is broken, `stuck` leads nowhere else."""

    top: int = 3
    bad: tuple[int, int] | None = None
    stuck: tuple[int, int] | None = None
    circling: bool = False

    def start(self) -> tuple[int, int]:
        return 0, 0

    def steps(self, state: tuple[int, int]) -> Iterator[tuple[str, tuple[int, int]]]:
        left, right = state
        if state == self.stuck:
            yield "!saved", (self.top, self.top)
            if self.circling:
                yield "off", (-1, 0)
            return
        if left < 0:
            yield "around", (-3 - left, 0)
            return
        for by in (1, 2):
            if left + by <= self.top:
                yield f"left {by}", (left + by, right)
            if right + by <= self.top:
                yield f"right {by}", (left, right + by)

    def wrong(self, state: tuple[int, int]) -> str | None:
        return "bad" if state == self.bad else None

    def owed(self, state: tuple[int, int]) -> str | None:
        return None if state == (self.top, self.top) else "not at the top"


def test_the_explorer_sees_every_state_and_every_step() -> None:
    """16 states; in each direction 3 single and 2 double steps in each of 4 rows."""
    result = explore(Clocks(top=3))
    assert (result.states, result.transitions, result.found) == (16, 2 * 4 * (3 + 2), None)


def test_the_explorer_finds_a_shortest_trace() -> None:
    """Three steps; one that goes deep first comes there in five."""
    assert _found(Clocks(top=9, bad=(4, 1))) == ("bad", ["left 2", "left 2", "right 1"])


def test_the_explorer_finds_where_nothing_goes_on_but_by_a_fault() -> None:
    assert _found(Clocks(stuck=(2, 1))) == ("at rest, and not at the top", ["left 2", "right 1"])


def test_the_explorer_finds_what_runs_in_circles() -> None:
    assert _found(Clocks(stuck=(2, 1), circling=True)) == ("whatever follows, not at the top", ["left 2", "right 1"])


def test_the_explorer_says_if_there_is_too_much() -> None:
    with pytest.raises(TooLargeError):
        explore(Clocks(top=99), at_most=100)


def test_each_rule_has_a_place_where_it_is_found_broken() -> None:
    assert set(BROKEN_IN) == set(NAMES)


def _found(clocks: Clocks) -> tuple[str, list[str]]:
    """What was found, and the steps there in any order."""
    found = explore(clocks).found
    assert found is not None
    return found.what, sorted(found.trace)


def _docs() -> str:
    return (ROOT / "docs/model.md").read_text("utf-8")
