"""What befalls bridges and web processes: killed, frozen, told to stop, crashed at a chosen point, restarted one by one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

from core.fail_points import Point
from tests.chaos.ensemble import Ensemble, Shape
from tests.chaos.fault import BRIDGES, any_place, fault, one_of
from tests.chaos.places import Place

_READY = 60.0
_FROZEN = 2.0  # seconds that a process may stand still in its drain before it is woken


@fault("place", place=any_place)
@asynccontextmanager
async def kill(e: Ensemble, *, place: str) -> AsyncIterator[None]:
    """kill -9; started again at the end."""
    await e.places[place].kill()
    try:
        yield
    finally:
        await e.places[place].start()


@fault("place", place=any_place)
@asynccontextmanager
async def terminate(e: Ensemble, *, place: str) -> AsyncIterator[None]:
    """SIGTERM: it must end by itself, with status 0; started again at the end."""
    try:
        await e.places[place].stop()
        yield
    finally:
        await e.places[place].begin_anew()


@fault("place", place=any_place)
@asynccontextmanager
async def freeze(e: Ensemble, *, place: str) -> AsyncIterator[None]:
    """SIGSTOP, and SIGCONT at the end: it then goes on as if nothing had been."""
    e.places[place].freeze()
    try:
        yield
    finally:
        e.places[place].thaw()


@fault(touches=lambda _: BRIDGES)
@asynccontextmanager
async def freeze_leader(e: Ensemble) -> AsyncIterator[None]:
    """The same to whichever bridge leads."""
    leader = await e.leader() or e.bridges[0]
    leader.freeze()
    try:
        yield
    finally:
        leader.thaw()


def _points(rng: Random, shape: Shape) -> str:
    point = rng.choice(list(Point))
    action = rng.choice(["kill", "kill", "stop", "error", "pause:0.5"])
    return f"{point}={action}" + ("" if point.startswith("drain.") else rng.choice(["@1", "@2", "@7", "@40", "%5"]))


@fault(touches=lambda arguments: BRIDGES | {f"web{arguments['number']}"}, points=_points, number=one_of(0, 1))
@asynccontextmanager
async def crash_at(e: Ensemble, *, points: str, number: int) -> AsyncIterator[None]:
    """Run a process (the bridge or web of that number, as the point wants) with fail points set, the only bridge if it is one."""
    place, others = _chosen(e, points, number)
    try:
        for other in (place, *others):
            await other.stop()
        await place.start(fail_points=points)
        yield
        if points.startswith("drain."):
            await _drain(place)
    finally:
        for other in (place, *others):
            await other.begin_anew()


def _chosen(e: Ensemble, points: str, number: int) -> tuple[Place, list[Place]]:
    """The process whose point that is; and the bridges that must not lead meanwhile."""
    places = e.bridges if points.startswith(("bridge.", "drain.stamping", "drain.emptied")) else e.webs
    place = places[number % len(places)]
    return place, [other for other in e.bridges if other is not place and not place.is_web]


async def _drain(place: Place) -> None:
    """Tell it to stop, and wake it should it stand still there."""
    if place.running:
        place.terminate()
        if not await place.ended(within=_FROZEN):
            place.thaw()
            await place.ended(within=10)


def _order(rng: Random, shape: Shape) -> list[str]:
    return rng.sample(shape.places, len(shape.places))


@fault(touches=lambda arguments: set(arguments["order"]), order=_order)
@asynccontextmanager
async def restart_all(e: Ensemble, *, order: list[str]) -> AsyncIterator[None]:
    """Restart everything, one after another as a deployment does, each once the last is ready."""
    for name in order:
        place = e.places[name]
        try:
            await place.stop()
        finally:
            await place.begin_anew()
        await place.ready(within=_READY)
    yield
