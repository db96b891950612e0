"""One walk: hundreds of steps taken by chance, then everything is mended and has to come to rest."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from functools import partial

from tests.model.faults import Faults
from tests.model.judge import missing, violations
from tests.model.loop import BusyLoopError
from tests.model.steps import Step, Steps
from tests.model.world import World
from tests.model.writers import USERS
from web.stream import Since

STEPS = 500
# Seconds of the modelled clock that mending may take; what takes longer has stalled.
REST = 60.0
# … and as long after the last row came, for what comes twice.
AFTER = 2.5
READY = 10.0


@dataclass
class Result:
    """What came of one walk."""

    seed: int
    violations: list[str]
    steps: int
    seconds: float
    rows: int
    events: int
    logs: Counter[str]
    trace: list[str] = field(default_factory=list)


def walk(seed: int, *, steps: int = STEPS, faults: dict[str, float] | None = None, trace: bool = False) -> Result:
    """The walk of that seed; `faults` in place of those it would draw, by kind."""
    return Walk(seed, faults=faults, trace=trace).run(steps)


class Walk:
    """One world and the chance that leads through it."""

    def __init__(self, seed: int, *, faults: dict[str, float] | None = None, trace: bool = False) -> None:
        self.chance = random.Random(f"walk {seed} {sorted(faults or ())}")
        self.seed = seed
        self.world = World(self.chance)
        self.faults = Faults.drawn(self.world, self.chance)
        if faults is not None:
            self.faults.kinds = dict(faults)
        self.trace: list[str] | None = [] if trace else None
        self.taken = 0
        for user in (*USERS[:3], USERS[0], USERS[1]):
            assert user is not None
            self.world.add_browser(user, self.chance.choice((Since.ALL, Since.NOW)))
        # How often each kind of step is taken, beside 100 times that something arrives.
        draw = self.chance.choice
        self._writing, self._reading_, self._breaking = draw((10, 30, 60)), draw((10, 30)), draw((2, 4, 8))
        self._haste = draw((1, 3, 10))  # how often the time moves while something could still arrive

    def run(self, steps: int = STEPS) -> Result:
        """Walk, mend, rest, judge."""
        world = self.world
        reread_every = self.chance.choice((1.0, 1000.0, 1000.0, 1000.0))
        found: list[str] = []
        with world.alive(reread_every=reread_every):
            try:
                for part in world.parts:
                    part.start()
                for _ in range(steps):
                    self._step()
                found = self._come_to_rest() + violations(world)
            except BusyLoopError as error:
                found = [str(error)]
            seconds = world.loop.now - 1000
        events = sum(len(browser.got) for browser in world.browsers)
        return Result(self.seed, found, self.taken, seconds, world.writers.rows, events, world.logs, self.trace or [])

    def _step(self) -> None:
        world, chance = self.world, self.chance
        world.settle()
        io = world.io()
        kind = chance.choices(
            ("io", "time", "write", "read", "fault"),
            (100 * bool(io), self._haste if io else 40, self._writing, self._reading_, self._breaking),
        )[0]
        match kind:
            case "io":
                self._take(io)
            case "time":
                self._take([Step("time", world.tick)])
            case "write":
                self._take(world.writers.steps())
            case "read":
                self._take(self._reading())
            case "fault":
                self._take(self.faults.steps())

    def _take(self, steps: Steps) -> None:
        if not steps:
            return
        step = self.chance.choices(steps, [step.weight for step in steps])[0] if len(steps) > 1 else steps[0]
        if self.trace is not None:
            self.trace.append(f"{self.world.loop.now:9.3f} {step.label}")
        self.taken += 1
        step.do()

    def _reading(self) -> Steps:
        steps = []
        for browser in self.world.browsers:
            response = browser.response
            if response is None:
                steps += [
                    Step(f"{browser} connects to {web.name}", partial(browser.connect, web), 0.3)
                    for web in self.world.webs
                    if web.alive and not web.stopping
                ]
            elif response.chunks:
                steps.append(Step(f"{browser} reads", browser.read, 1.0))
            elif response.ended:
                steps.append(Step(f"{browser} sees the end", browser.notice))
        return steps

    # The end

    def _come_to_rest(self) -> list[str]:
        """Everything is mended, everybody writes once more, and all that is owed has to come."""
        world = self.world
        self.faults.kinds = {}
        self.faults.heal()
        world.writers.finish()
        deadline = world.loop.now + REST
        self._pass_until(deadline, lambda: all(part.alive for part in world.parts))
        # First without a new row that would show what is missing, then with some.
        for users in ((), USERS):
            for user in users:
                world.writers.insert(user)
            if not self._pass_until(deadline, self._done):
                return [f"I8 not at rest after {REST:g} s: {self._unrest()}"]
        self._pass_until(world.loop.now + AFTER, lambda: False)
        self._pass_until(world.loop.now + READY, lambda: all(web.hub.fresh() for web in world.webs))
        return [f"I8 {web.name} is not ready" for web in world.webs if not web.hub.fresh()]

    def _pass_until(self, deadline: float, done: object) -> bool:
        world = self.world
        assert callable(done)
        while True:
            world.settle()
            io = world.io()
            if io:
                self._take(io)
            elif reading := self._reading():
                self._take(reading)
            elif done():
                return True
            elif world.loop.now > deadline:
                return False
            else:
                self.faults.heal()
                self._take([Step("time", world.tick)])

    def _done(self) -> bool:
        return not self._unrest()

    def _unrest(self) -> list[str]:
        state = self.world.primary.state
        found = [f"{row.name} is not stamped" for row in state.rows.values() if row.seq is None]
        for browser in self.world.browsers:
            if browser.origin is None:
                found.append(f"{browser} has no position")
            found += [f"{browser} waits for {row.name}" for row in missing(browser, state)]
        return found
