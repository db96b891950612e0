"""What befalls the network between two parts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from random import Random

from tests.chaos.ensemble import Ensemble, Shape
from tests.chaos.fault import MANY, any_place, any_wire, fault, one_of
from tests.waiting import running
from tests.wire import Wire
from tests.wire_connection import Direction


@contextmanager
def _broken(wire: Wire, how: Callable[[Wire], object]) -> Iterator[None]:
    how(wire)
    try:
        yield
    finally:
        wire.heal()


@fault("wire", wire=any_wire, lost=one_of("all", "requests", "replies"))
@asynccontextmanager
async def black_hole(e: Ensemble, *, wire: str, lost: str) -> AsyncIterator[None]:
    """Connections stay open, new ones too, and bytes are lost: all of them or those of one direction."""
    with _broken(e.wires[wire], lambda w: w.black_hole(up=lost != "replies", down=lost != "requests")):
        yield


@fault("wire", wire=any_wire)
@asynccontextmanager
async def hold(e: Ensemble, *, wire: str) -> AsyncIterator[None]:
    """Bytes are kept back and arrive at the end: a loss of packets that TCP repairs."""
    with _broken(e.wires[wire], lambda w: w.hold()):
        yield


@fault("wire", wire=any_wire)
@asynccontextmanager
async def refuse(e: Ensemble, *, wire: str) -> AsyncIterator[None]:
    """Connections are reset and new ones refused."""

    def gone(w: Wire) -> None:
        w.refuse()
        w.reset()

    with _broken(e.wires[wire], gone):
        yield


@fault("wire", wire=any_wire, every=one_of(0.05, 0.3, 1.0))
@asynccontextmanager
async def reset(e: Ensemble, *, wire: str, every: float) -> AsyncIterator[None]:
    """Connections are reset, again and again."""

    async def again_and_again() -> None:
        while True:
            e.wires[wire].reset()
            await asyncio.sleep(every)

    async with running(again_and_again()):
        yield


@fault("wire", wire=any_wire, seconds=one_of(0.02, 0.2, 1.0))
@asynccontextmanager
async def delay(e: Ensemble, *, wire: str, seconds: float) -> AsyncIterator[None]:
    """Every byte comes later."""
    with _broken(e.wires[wire], lambda w: w.delay(seconds)):
        yield


@fault("wire", wire=any_wire, rate=one_of(10_000, 100_000, 1_000_000))
@asynccontextmanager
async def throttle(e: Ensemble, *, wire: str, rate: float) -> AsyncIterator[None]:
    """No more than so many bytes a second."""
    with _broken(e.wires[wire], lambda w: w.throttle(rate)):
        yield


@fault("wire", wire=any_wire, size=one_of(41, 1_000))
@asynccontextmanager
async def slice_(e: Ensemble, *, wire: str, size: int) -> AsyncIterator[None]:
    """What is sent as a whole comes in small pieces."""
    with _broken(e.wires[wire], lambda w: w.slice(size)):
        yield


def _lengths(rng: Random, _: Shape) -> int:
    return rng.choice([1, rng.randrange(2, 100), rng.randrange(100, 5_000), rng.randrange(5_000, 200_000)])


def _directions(rng: Random, _: Shape) -> Direction:
    return "up" if rng.random() < 0.5 else "down"


@fault("wire", wire=any_wire, nbytes=_lengths, direction=_directions)
@asynccontextmanager
async def cut(e: Ensemble, *, wire: str, nbytes: int, direction: Direction) -> AsyncIterator[None]:
    """Each connection is reset after so many bytes, which is in the middle of a message."""
    with _broken(e.wires[wire], lambda w: w.cut_after(nbytes, direction)):
        yield


def _all_of(place: str) -> set[str]:
    wires = {f"{place}-postgres", f"{place}-redis"}
    return wires | {f"clients-{place}"} if place.startswith("web") else wires


@fault(touches=lambda arguments: _all_of(arguments["place"]), place=any_place)
@asynccontextmanager
async def isolate(e: Ensemble, *, place: str) -> AsyncIterator[None]:
    """A process that hears from nobody and that nobody hears from."""
    wires = [e.wires[name] for name in sorted(_all_of(place))]
    for each in wires:
        each.black_hole()
    try:
        yield
    finally:
        for each in wires:
            each.heal()


@fault(
    touches=lambda arguments: {f"{place}{n}-{arguments['server']}" for place in ("bridge", "web") for n in range(MANY)},
    server=one_of("postgres", "redis"),
)
@asynccontextmanager
async def cut_off(e: Ensemble, *, server: str) -> AsyncIterator[None]:
    """A server that none of Rowcast's processes hears from, while writers still do."""
    wires = [e.wires[name] for name in e.shape.wires if name.endswith(f"-{server}")]
    for each in wires:
        each.black_hole()
    try:
        yield
    finally:
        for each in wires:
            each.heal()
