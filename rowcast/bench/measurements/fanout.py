"""Fan-out: what one event costs the web process's CPU, a row at a time to many streams; and how fast bursts go out."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from rowcast.bench.figures import TIMES, Line, Outcome, Plot, at_least, at_most
from rowcast.bench.load.crowd import Crowd, crowd
from rowcast.bench.load.wire import frame
from rowcast.bench.measurements.marker import many
from rowcast.bench.measurements.rivals import everyones, have_pg_sse, stream_paths, write_to_all
from rowcast.bench.parts import Part
from rowcast.bench.reckoning import NS, median, ratios
from rowcast.bench.site import Session, Site, Yard
from rowcast.bench.sizes import Sizes

_MICRO = 1e6


@dataclass(slots=True)
class Side:
    """One server with its streams, and the way to have it write rows to all of them."""

    part: Part
    streams: Crowd
    send: Callable[[int], None]
    paths: Callable[[int], list[str]] = stream_paths
    share: float = 1.0  # of the rows, for one that takes long
    count: int = 0
    had: int = 0

    def open(self, count: int) -> None:
        """Instead of those that were open."""
        self.streams.cut()
        self.count, self.had = count, 0
        self.streams.open(self.paths(count))
        self.one_at_a_time(2)  # past what is done only once

    def one_at_a_time(self, rows: int) -> float:
        """Microseconds of the server's CPU for each event."""
        rows = max(1, round(rows * self.share))
        before = self.part.cpu()
        for _ in range(rows):
            self.send(1)
            self._arrive(1)
        return (self.part.cpu() - before) / (rows * self.count) * _MICRO

    def burst(self, rows: int) -> tuple[float, float]:
        """Events a second from before the INSERT to the last arrival, and microseconds of the server's CPU for each."""
        rows = max(1, round(rows * self.share))
        before, began = self.part.cpu(), time.monotonic_ns()
        self.send(rows)
        ended = self._arrive(rows)
        events = rows * self.count
        return events * NS / (ended - began), (self.part.cpu() - before) / events * _MICRO

    def bytes_an_event(self) -> float:
        """Of all that came since the streams were opened: whether the sides write the same."""
        had = self.streams.progress()
        return had.bytes / had.events

    def _arrive(self, rows: int) -> int:
        self.had += rows
        ended = self.streams.reach(each=self.had).last_event
        self.part.require_alive()
        return ended


def measure(site: Site, sizes: Sizes, rounds: int) -> Outcome:
    """Rowcast, the bare endpoint and the ceiling, turn about."""
    found = Outcome("fanout", f"rows for everyone, to {sizes.streams} streams of one web process")
    with site.yard() as yard, yard.running() as (_, web), yard.sql() as sql, contextlib.ExitStack() as stack:
        sides = _sides(stack, yard, web, sql, found)
        costs: dict[str, list[float]] = {name: [] for name in sides}
        bursts: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
        for side in sides.values():
            side.open(sizes.streams)
        for _ in range(rounds):
            for name, side in sides.items():
                costs[name].append(side.one_at_a_time(sizes.fanout_rows))
                bursts[name].append(side.burst(sizes.burst_rows))
        weights = {name: side.bytes_an_event() for name, side in sides.items()}
        found.plots.append(_against_streams(sides, sizes, costs))
    _note(found, costs, bursts)
    for name, weight in weights.items():
        found.add(f"bytes per event, {name}", "B", [weight])
    return found


def _sides(stack: contextlib.ExitStack, yard: Yard, web: Part, sql: Session, found: Outcome) -> dict[str, Side]:
    bare, ceiling = (stack.enter_context(yard.rival(name)) for name in ("bare", "ceiling"))
    sides = {"Rowcast": Side(web, stack.enter_context(crowd(web)), partial(many, sql, users=None))}
    for name, part in (("bare ASGI", bare), ("ceiling", ceiling)):
        sides[name] = Side(part, stack.enter_context(crowd(part)), partial(_tell, part.url))
    if have_pg_sse(found):
        part = stack.enter_context(yard.rival("pg_sse"))
        send = partial(many, sql, users=None, insert="bench_many_pg_sse")
        sides["pg-sse"] = Side(part, stack.enter_context(crowd(part)), send, everyones, 0.1)
    return sides


def _tell(url: str, rows: int) -> None:
    write_to_all(url, [frame(None, f"row {number}", number) for number in range(rows)])


def _note(found: Outcome, costs: dict[str, list[float]], bursts: dict[str, list[tuple[float, float]]]) -> None:
    for name, values in costs.items():
        found.add(f"one row at a time, {name}: CPU per event", "µs", values)
    found.add(
        "one row at a time: CPU per event, Rowcast : bare ASGI",
        TIMES,
        ratios(costs["Rowcast"], costs["bare ASGI"]),
        at_most(1.15),
    )
    for name, pairs in bursts.items():
        goal = at_least(100_000) if name == "Rowcast" else None
        found.add(f"bursts, {name}: events", "1/s", [rate for rate, _ in pairs], goal)
        found.add(f"bursts, {name}: CPU per event", "µs", [cost for _, cost in pairs])


def _against_streams(sides: dict[str, Side], sizes: Sizes, costs: dict[str, list[float]]) -> Plot:
    """Cost against number of streams, once each."""
    points = {name: [(float(sizes.streams), median(values))] for name, values in costs.items()}
    for streams in sizes.fanout_streams:
        rows = sizes.fanout_rows * max(1, min(10, sizes.streams // streams))
        for name, side in sides.items():
            side.open(streams)
            points[name].append((streams, side.one_at_a_time(rows)))
    lines = [Line(name, sorted(values)) for name, values in points.items()]
    return Plot("CPU per event against streams", "streams", "CPU per event (µs)", lines, True, True)
