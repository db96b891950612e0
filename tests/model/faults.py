"""Everything that can go wrong in a walk, each as a step, by kind; a walk draws how often each kind comes, and some never."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

from tests.model.browser import Browser
from tests.model.loop import Process
from tests.model.parts import Part
from tests.model.redis import RedisPeer
from tests.model.steps import Step, Steps
from tests.model.wire import Wire
from tests.model.world import World

# How often each kind comes, beside others, in a walk that has it.
KINDS = {
    "kill": 1.0,
    "stop": 0.5,
    "freeze": 2.0,
    "cut": 3.0,
    "hold": 2.0,
    "unplug": 1.0,
    "terminate": 1.0,
    "refuse": 1.0,
    "replace redis": 1.0,
    "stop redis": 0.5,
    "restart postgres": 0.5,
    "fail over": 0.5,
    "lock": 1.0,
    "delete": 0.4,
    "prune": 0.8,
    "browser": 4.0,
}
MOST = 20  # faults in a walk
# Callbacks that a process still runs before it freezes or dies.
SOON = (0, 1, 2, 3, 5, 8, 13)


class Faults:
    """Breaks things in a world, and mends some of them again."""

    def __init__(self, world: World, kinds: dict[str, float]) -> None:
        self.world = world
        self.kinds = kinds
        self.count = 0
        self._unplugged: dict[Wire, list[bytes]] = {}

    @classmethod
    def drawn(cls, world: World, chance: random.Random) -> Faults:
        """One to six kinds, each more or less often than usual."""
        drawn = chance.sample(sorted(KINDS), chance.randint(1, 6))
        return cls(world, {kind: KINDS[kind] * chance.choice((0.3, 1, 3)) for kind in drawn})

    def steps(self) -> Steps:
        """What can break, or be mended, now."""
        steps = self._mending()
        if self.count < MOST:
            for kind, weight in self.kinds.items():
                breaking: Callable[[], Steps] = getattr(self, f"_{kind.replace(' ', '_')}")
                found = breaking()
                steps += [Step(step.label, self._counted(step.do), weight * step.weight / len(found)) for step in found]
        return steps

    def heal(self) -> None:
        """Nothing is broken any more; what was under way may still be late."""
        for wire in list(self._unplugged):
            while wire in self._unplugged:
                self._plug_in(wire)
        for step in self._mending():
            step.do()
        world = self.world
        for part in world.parts:
            part.process.allowance = None
            world.thaw(part)
        world.holding.clear()
        for wire in world.wires:
            wire.held = False
        world.redis.refusals = 0

    def _counted(self, do: Callable[[], None]) -> Callable[[], None]:
        def counted() -> None:
            self.count += 1
            do()

        return counted

    def _mending(self) -> Steps:
        world = self.world
        steps = [Step(f"thaw {part.name}", partial(world.thaw, part)) for part in _parts(world, frozen=True)]
        steps += [Step(f"start {part.name}", part.start, 2.0) for part in world.parts if not part.alive]
        steps += [Step(f"release {wire}", partial(self._release, wire), 0.5) for wire in self._held]
        steps += [Step(f"let {name} through", partial(self._let_through, name), 1.0) for name in sorted(world.holding)]
        steps += [Step(f"plug in {wire}", partial(self._plug_in, wire), 1.0) for wire in self._unplugged]
        if not world.redis.up:
            steps.append(Step("redis is up", world.start_redis, 2.0))
        if not world.primary.up:
            steps.append(Step("postgres is up", world.start_postgres, 2.0))
        if world.old:
            steps.append(Step("old primaries go", world.end_zombies, 0.5))
        if any(server.role == b"master" for server in world.old_redis):
            steps.append(Step("old redis is a replica", world.end_old_redis, 0.3))
        if world.writers.locking:
            steps.append(Step("unlock", world.writers.unlock))
        return steps

    # Processes

    def _kill(self) -> Steps:
        return [
            Step(f"kill {part.name} after {soon}", partial(self.world.kill_soon, part, soon))
            for part in _parts(self.world)
            for soon in SOON
        ]

    def _stop(self) -> Steps:
        return [Step(f"stop {part}", part.stop) for part in _parts(self.world) if not part.stopping]

    def _freeze(self) -> Steps:
        # Twice a bridge: a leader that comes back too late is what most rules are for.
        return [
            Step(
                f"freeze {part.name} after {soon}",
                partial(self.world.freeze, part, soon),
                1.0 if part in self.world.webs else 3.0,
            )
            for part in _parts(self.world)
            for soon in SOON
        ]

    # Connections

    @property
    def _held(self) -> list[Wire]:
        return [wire for wire in self.world.wires if wire.held and wire not in self._unplugged]

    def _cut(self) -> Steps:
        return [
            Step(f"cut {wire}", partial(self._cut_wire, wire))
            for wire in self.world.wires
            if wire.open and wire not in self._unplugged
        ]

    def _cut_wire(self, wire: Wire) -> None:
        """With some of what is on its way up still reaching the server."""
        wire.cut(self.world.chance.randint(0, len(wire.up)))

    def _hold(self) -> Steps:
        steps = [Step(f"hold {wire}", wire.hold) for wire in self.world.wires if wire.open and not wire.held]
        return steps + [
            Step(f"hold all of {part.name}", partial(self._hold_part, part.name), 2.0) for part in _parts(self.world)
        ]

    def _hold_part(self, name: str) -> None:
        self.world.holding.add(name)
        for wire in self.world.wires:
            wire.held = wire.held or wire.process.name.split(".")[0] == name

    def _let_through(self, name: str) -> None:
        self.world.holding.discard(name)
        for wire in self._held:
            if wire.process.name.split(".")[0] == name:
                self._release(wire)

    def _release(self, wire: Wire) -> None:
        """What was swallowed comes late, or never."""
        wire.held = False
        if self.world.chance.random() < 0.5:
            self._cut_wire(wire)

    def _unplug(self) -> Steps:
        """Something on the way loses a subscriber's connection, and subscribes again by itself, as redis-py would."""
        return [
            Step(f"unplug {wire}", partial(self._pull, wire))
            for wire in self.world.wires_of(RedisPeer)
            if not wire.held
            and wire not in self._unplugged
            and isinstance(wire.peer, RedisPeer)
            and wire.peer.server
            and wire in wire.peer.server.subscribed
        ]

    def _pull(self, wire: Wire) -> None:
        assert isinstance(wire.peer, RedisPeer)
        if wire.peer.server is not None:
            self._unplugged[wire] = list(wire.peer.server.subscribed.pop(wire, {}))
            wire.down.clear()
            wire.held = True

    def _plug_in(self, wire: Wire) -> None:
        assert isinstance(wire.peer, RedisPeer)
        server, channels = wire.peer.server, self._unplugged[wire]
        count = self.world.chance.randint(1, max(1, len(channels)))
        wire.held = False
        for channel in channels[:count] if wire.served and server is not None else ():
            assert server is not None
            server.subscribed.setdefault(wire, {})[channel] = None
            wire.down.append([b"ssubscribe", channel, len(server.subscribed[wire])])
        self._unplugged[wire] = channels[count:]
        if not self._unplugged[wire]:
            del self._unplugged[wire]

    def _terminate(self) -> Steps:
        return [Step(f"terminate {wire}", wire.end) for wire in self.world.wires if wire.served and wire.open]

    # Servers

    def _refuse(self) -> Steps:
        return [Step(f"redis refuses {count}", partial(self.world.redis.refuse, count)) for count in (1, 2, 4)]

    def _replace_redis(self) -> Steps:
        return [Step("replace redis", self.world.replace_redis)] if self.world.redis.up else []

    def _stop_redis(self) -> Steps:
        return [Step("stop redis", self.world.stop_redis)] if self.world.redis.up else []

    def _restart_postgres(self) -> Steps:
        return [Step("crash postgres", self.world.restart_postgres)] if self.world.primary.up else []

    def _fail_over(self) -> Steps:
        world = self.world
        if not world.primary.up:
            return []
        return [
            Step("standby catches up", world.catch_up, 2.0),
            Step("fail over", partial(world.fail_over, zombie=False)),
            Step("fail over, the old primary lives", partial(world.fail_over, zombie=True)),
        ]

    # People

    def _lock(self) -> Steps:
        return [Step("lock a row", self.world.writers.lock)] if len(self.world.writers.locking) < 2 else []

    def _delete(self) -> Steps:
        database = self.world.primary
        return [Step("delete the newest", database.delete_newest, 2.0), Step("truncate", self.world.truncate)]

    def _prune(self) -> Steps:
        return [Step("forget", self.world.forget), Step("prune", self.world.primary.prune)]

    def _browser(self) -> Steps:
        return [
            Step(f"{browser} is cut", partial(self._cut_browser, browser))
            for browser in self.world.browsers
            if browser.connected
        ]

    def _cut_browser(self, browser: Browser) -> None:
        """In the middle of what it was reading."""
        if browser.response is not None and browser.response.chunks:
            browser.read(self.world.chance.randint(0, len(browser.response.chunks[0])))
        browser.cut()


def _parts(world: World, *, frozen: bool = False) -> list[Part]:
    return [part for part in world.parts if part.alive and part.process.frozen == frozen and _free(part.process)]


def _free(process: Process) -> bool:
    return process.allowance is None
