"""Idle streams: what each holds of memory, how many fit on one process, and what all of them cost while nothing happens."""

from __future__ import annotations

import contextlib
import resource
import time
from contextlib import AbstractContextManager

from rowcast.bench.figures import TIMES, Goal, Line, Outcome, Plot, at_least, at_most
from rowcast.bench.load.crowd import Crowd, crowd
from rowcast.bench.measurements.rivals import have_pg_sse, stream_paths
from rowcast.bench.parts import Part
from rowcast.bench.reckoning import NS, ratios
from rowcast.bench.site import Site, Yard
from rowcast.bench.sizes import Sizes

_OURS = "Rowcast"
_KIB = 1024
# Streams that are opened and closed first, so that what is allocated once is not counted.
_WARM_UP = 50
# Descriptors of a web process that are no streams: sessions, sockets, what Python holds.
_OTHERS = 200


def measure(site: Site, sizes: Sizes, rounds: int) -> Outcome:
    """Memory in new processes each round; then as many streams as were asked for, on one."""
    found = Outcome("idle", f"{sizes.idle_streams} idle streams a round, and {sizes.idle_most} on one process")
    with site.yard() as yard, yard.bridge():
        kib: dict[str, list[float]] = {_OURS: [], "bare ASGI": []}
        for _ in range(rounds):
            kib[_OURS].append(_per_stream(yard.web(), sizes.idle_streams))
            kib["bare ASGI"].append(_per_stream(yard.rival("bare"), sizes.idle_streams))
        if have_pg_sse(found):
            kib["pg-sse"] = [_per_stream(yard.rival("pg_sse"), sizes.idle_streams)]
        for name, values in kib.items():
            found.add(f"memory per idle stream, {name}", "KiB", values)
        ratio = ratios(kib[_OURS], kib["bare ASGI"])
        found.add("memory per idle stream, Rowcast : bare ASGI", TIMES, ratio, at_most(1.25))
        _most(found, yard, sizes, rounds)
    return found


def _per_stream(server: AbstractContextManager[Part], count: int) -> float:
    """KiB a stream, in a process that was started for this."""
    with server as part, crowd(part) as streams:
        _warm_up(streams)
        before = part.memory()
        streams.open(stream_paths(count))
        return (part.memory() - before) / count / _KIB


def _warm_up(streams: Crowd) -> None:
    streams.open(stream_paths(_WARM_UP))
    streams.cut()


def _most(found: Outcome, yard: Yard, sizes: Sizes, rounds: int) -> None:
    """As many as shall fit on one process: how long they take to open, and what they cost once they are."""
    count = _allowed(found, sizes.idle_most)
    memory: dict[str, list[tuple[float, float]]] = {}
    with contextlib.ExitStack() as stack:
        for name, server in (("bare ASGI", yard.rival("bare")), (_OURS, yard.web())):
            part = stack.enter_context(server)
            streams = stack.enter_context(crowd(part))
            _warm_up(streams)
            began, before = time.monotonic_ns(), part.memory()
            opened = streams.open(stream_paths(count), within=300)
            memory[name] = [(0.0, 0.0), (count, (part.memory() - before) / _KIB / _KIB)]
            found.add(f"streams opened a second, {name}", "1/s", [count * NS / (opened - began)])
            found.add(
                f"idle CPU of {count} streams, {name}",
                "% of a core",
                _idle(part, sizes, rounds if name == _OURS else 1),
                _goal(name),
            )
            held = streams.reach(within=1).greeted
            if name == _OURS:
                found.add("open on one process", "streams", [held], at_least(sizes.idle_most))
            stack.pop_all().close()
    lines = [Line(name, points) for name, points in memory.items()]
    found.plots.append(Plot("Memory against streams", "streams", "memory (MiB)", lines))


def _goal(name: str) -> Goal | None:
    return at_most(10.0) if name == _OURS else None


def _idle(part: Part, sizes: Sizes, rounds: int) -> list[float]:
    """The share of a core, over whole rounds of heartbeats."""
    shares = []
    for _ in range(rounds):
        before, began = part.cpu(), time.monotonic()
        time.sleep(sizes.idle_seconds)
        shares.append(100 * (part.cpu() - before) / (time.monotonic() - began))
    return shares


def _allowed(found: Outcome, wanted: int) -> int:
    """What the limit of descriptors lets one process hold."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit != resource.RLIM_INFINITY and limit - _OTHERS < wanted:
        found.not_run.append(f"{wanted} streams on one process: this machine allows {limit} descriptors (ulimit -n)")
        return limit - _OTHERS
    return wanted
