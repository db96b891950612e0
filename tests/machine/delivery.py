"""Marks and catch-up: from stamped rows to clients, over two bridges, Redis, one hub and its streams."""

from __future__ import annotations

from collections.abc import Iterator

from tests.machine import hear, listen, publish
from tests.machine.wires import EVERYONE, MARK, Bounds, Bridge, Hub, Stream, World, fault, theirs


class Delivery:
    """The machine, within `bounds`."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds

    def start(self) -> World:
        streams = tuple(Stream(s.lower(), at="live" if s.isupper() else "off") for s in self._bounds.streams)
        live = "".join(sorted({stream.user for stream in streams if stream.live}))
        hub = Hub(subscribed=MARK + EVERYONE + live)
        if self._bounds.hub != "at 0":
            hub = hub._replace(position=None, wanted=True)
        if self._bounds.hub == "away":
            hub = hub._replace(up=False, subscribed="")
        return World((), 0, 0, (Bridge(), Bridge()), hub, streams, self._bounds.faults)

    def steps(self, world: World) -> Iterator[tuple[str, World]]:
        yield from publish.steps(world, self._bounds)
        yield from hear.steps(world, self._bounds)
        yield from listen.steps(world, self._bounds)
        if world.faults and "delete" in self._bounds.kinds and not world.deleted and world.rows and not _lacking(world):
            yield "!all rows are deleted", fault(world)._replace(deleted=True)

    def wrong(self, world: World) -> str | None:
        return next((f"{stream.user}: {stream.wrong}" for stream in world.streams if stream.wrong), None)

    def owed(self, world: World) -> str | None:
        for stream in _lacking(world):
            if stream.at != "off":
                return f"{stream.user} has not got {theirs(world, stream.user)[stream.got]}"
        return None


def _lacking(world: World) -> list[Stream]:
    return [stream for stream in world.streams if stream.got < len(theirs(world, stream.user))]
