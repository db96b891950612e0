"""Everything there is in one walk: the machine, Postgres with a standby, Redis, two bridges, two web processes, browsers, and writers.

A world does nothing by itself. It offers steps, by kind; a walk takes one after another.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from tests.model.browser import Browser
from tests.model.driver import Driver, SessionPeer
from tests.model.loop import Loop, Process
from tests.model.parts import BridgePart, ModelClock, Part, WebPart
from tests.model.postgres import TERM, Database, State
from tests.model.redis import RawConnection, RedisPeer, RedisServer
from tests.model.seams import modelled
from tests.model.steps import Step, Steps
from tests.model.wire import Peer, Wire, current_process
from tests.model.writers import Writers
from web.config import WebConfig
from web.stream import Start

CONFIG = WebConfig(stream_queue=4, heartbeat=4.0, retry=0.2)
# A wire is quick, or slower than others are.
PACES = (1.0, 1.0, 1.0, 0.2, 0.03)


class World:
    """`chance` decides what no step decides: jitter, and how quick a wire is."""

    def __init__(self, chance: random.Random, *, bridges: int = 2, webs: int = 2) -> None:
        self.chance = chance
        self.loop = Loop()
        self.loop.on_end_of_allowance = self._allowance_ended
        self.primary = Database(State(), self.now)
        self.old: list[Database] = []  # primaries of before a failover, that still answer who is connected
        self.standby = self.primary.state.copy()
        self.redis = RedisServer("redis.1")
        self.old_redis: list[RedisServer] = []
        self.wires: list[Wire] = []
        self.holding: set[str] = set()  # processes whose new wires are held, too
        self.logs: Counter[str] = Counter()
        self.clock = ModelClock(self.loop, chance)
        self.driver = Driver(lambda: self.primary, self.open_wire)
        self.bridges = [BridgePart(f"bridge{n}", self.loop, self.clock) for n in range(bridges)]
        self.webs = [WebPart(f"web{n}", self.loop, self.clock, self.driver, CONFIG) for n in range(webs)]
        self.browsers: list[Browser] = []
        self.writers = Writers(self)
        self.paces = PACES
        self.lost_tails = 0
        self.lost_history = False
        self.closing = False

    # Its life

    @contextmanager
    def alive(self, *, reread_every: float = 1000.0) -> Iterator[None]:
        """Time can be moved and steps taken, until the end of the block."""
        with modelled(self.driver, self._raw, self.logs, reread_every=reread_every), self.loop.running():
            try:
                yield
            finally:
                self.loop.on_end_of_allowance = lambda process: None
                for wire in self.wires:
                    wire.break_client()
                self.primary.up = self.redis.up = False
                self.closing = True
                self.loop.end()

    def now(self) -> float:
        return self.loop.now

    @property
    def parts(self) -> list[Part]:
        return [*self.bridges, *self.webs]

    def add_browser(self, user: str, first: Start) -> Browser:
        browser = Browser(f"browser{len(self.browsers)}", user, first, lambda: self.primary.state.pruned_seq)
        self.browsers.append(browser)
        return browser

    def open_wire(self, name: str, peer: Peer) -> Wire:
        """A connection of the running process."""
        process = current_process()
        wire = Wire(name, process, peer, pace=self.chance.choice(self.paces))
        wire.held = process.name.split(".")[0] in self.holding
        wire.open = not self.closing
        self.wires.append(wire)
        return wire

    def _raw(self, name: str) -> RawConnection:
        return RawConnection(self.open_wire, lambda: self.redis, name)

    # What can be asked of it

    def wires_of(self, peer: type[Any]) -> list[Wire]:
        return [wire for wire in self.wires if isinstance(wire.peer, peer) and wire.open]

    def settle(self) -> None:
        """Run what can run; forget wires that are no more."""
        self.loop.run_ready()
        for part in self.parts:
            if part.alive and part.main is not None and part.main.done():
                self._die(part.process)
        if any(wire.over for wire in self.wires):
            self.wires = [wire for wire in self.wires if not wire.over]

    # Steps of the network and of time

    def io(self) -> Steps:
        """A server takes something, or something arrives."""
        steps = []
        for wire in self.wires:
            if wire.held:
                continue
            if wire.up:
                steps.append(Step(f"{wire} ↑", partial(self._move, wire.serve), wire.pace))
            if wire.down:
                steps.append(Step(f"{wire} ↓", partial(self._move, wire.deliver), wire.pace))
        return steps

    def _move(self, move: Callable[[int], None]) -> None:
        move(1 if self.chance.random() < 0.3 else 100)

    def tick(self) -> None:
        """The time of the next timer comes."""
        due = self.loop.next_timer
        self.pass_time(0.01 if due is None else max(due - self.loop.now, 0.0))

    def pass_time(self, seconds: float) -> None:
        self.loop.advance_to(self.loop.now + seconds)
        for wire in self.wires:
            peer = wire.peer
            if wire.served and isinstance(peer, SessionPeer) and peer.idle(self.loop.now):
                wire.end()

    # Processes

    def start(self, part: Part) -> None:
        part.start()

    def kill(self, part: Part) -> None:
        """SIGKILL: its kernel closes what was open."""
        self._die(part.process)

    def freeze(self, part: Part, after: int = 0) -> None:
        """SIGSTOP, once so many more callbacks have run."""
        part.process.dies, part.process.allowance = False, after

    def kill_soon(self, part: Part, after: int) -> None:
        part.process.dies, part.process.allowance = True, after

    def thaw(self, part: Part) -> None:
        """SIGCONT."""
        part.process.frozen, part.process.allowance = False, None

    def _allowance_ended(self, process: Process) -> None:
        if process.dies:
            self._die(process)
        else:
            process.frozen = True

    def _die(self, process: Process) -> None:
        process.alive, process.frozen = False, False
        for wire in self.wires:
            if wire.process is process:
                wire.inbox.clear()
                wire.down.clear()
                wire.close()
        for browser in self.browsers:
            if browser.response is not None and browser.web is not None and browser.web.process is process:
                browser.cut()

    # Servers

    def terminate(self, wire: Wire) -> None:
        """pg_terminate_backend, CLIENT KILL."""
        wire.end()

    def restart_postgres(self) -> None:
        """A crash; `up` again when somebody says so."""
        self.writers.interrupted()
        self.primary.stop()

    def start_postgres(self) -> None:
        self.primary.up = True

    def forget(self) -> None:
        self.lost_history = True
        self.primary.forget()

    def truncate(self) -> None:
        self.lost_history = True
        self.primary.truncate()

    def catch_up(self) -> None:
        """The standby has replayed all there is now."""
        self.standby = self.primary.state.copy()

    def fail_over(self, *, zombie: bool) -> None:
        """The standby is the primary now; what it had not replayed is lost. A zombie still lets those read who are connected to it."""
        lost = self.primary
        self.lost_tails += 1
        # Terms begin at whole seconds: no failover is so quick that the same second comes twice.
        self.pass_time(max(1.0, lost.state.last_seq / TERM - self.now()))
        self.primary = Database(self.standby.copy(), self.now)
        self.catch_up()
        self.writers.interrupted()
        if zombie:
            lost.read_only = True
            self.old.append(lost)
        else:
            lost.stop()

    def end_zombies(self) -> None:
        for database in self.old:
            database.stop()
        self.old.clear()

    def replace_redis(self) -> None:
        """Another node is the primary now; who is connected to the old one stays there, and may be told nothing."""
        self.old_redis.append(self.redis)
        self.redis = RedisServer(f"redis.{int(self.redis.name.split('.')[1]) + 1}")

    def end_old_redis(self) -> None:
        """The old nodes learn that they are replicas, and hand on nothing."""
        for server in self.old_redis:
            server.role = b"replica"

    def stop_redis(self) -> None:
        self.redis.up = False
        self._end_redis(lambda server: server is self.redis)

    def start_redis(self) -> None:
        self.redis.up = True

    def _end_redis(self, which: Callable[[RedisServer], bool]) -> None:
        for wire in self.wires_of(RedisPeer):
            peer = wire.peer
            if isinstance(peer, RedisPeer) and peer.server is not None and which(peer.server):
                wire.end()
