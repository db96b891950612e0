"""What delivery consists of: rows and batches, bridges, the hub and streams, and what is on its way between them.

All are values. Users are letters, one channel each: `u` and `v` have streams, `w` has none here (it is all that this bucket hears of
another one), `e` is everyone; `m` is the channel of marks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from tests.machine.rules import ALL, Rules

MARK = "m"
EVERYONE = "e"
CONFIRMATION = "c"


class Item(NamedTuple):
    """On its way to the hub: a message (`end` is its seq, `who` its user), a mark (`who` is MARK), or a confirmation nobody asked for."""

    start: int
    end: int
    who: str


class Batch(NamedTuple):
    """What was stamped in one range, and whether a mark goes with it."""

    start: int
    end: int
    rows: tuple[tuple[int, str], ...] = ()
    marked: bool = True


class Bridge(NamedTuple):
    """What one has yet to send, and how often it tried the first of it; `end`: up to where it sent or dropped."""

    queue: tuple[Batch, ...] = ()
    tries: int = 0
    end: int = 0
    last: Batch | None = None  # the last one sent; kept only where a broken rule repeats it


class Hub(NamedTuple):
    """One bucket in one web process, and its subscription."""

    position: int | None = 0
    assumed: bool = False  # is that only where the first stream stood?
    up: bool = True
    subscribed: str = ""  # channels, on the connection there is
    due: str = ""  # channels asked for when the connection was made, and not confirmed yet
    ghost: str = ""  # channels still to be subscribed again by a connection that was replaced behind our back
    wanted: bool = False  # is a re-read?
    reading: int = 0  # 0 no re-read runs, 1 its snapshot was taken, 2 half done
    upto: int = 0  # where that snapshot ended
    rows: tuple[tuple[int, str], ...] = ()
    heard: int = 0  # the greatest seq handled

    @property
    def joined(self) -> bool:
        return self.up and not self.due


class Stream(NamedTuple):
    """One browser's. `at`: off → asked → ready → begun → backlog → live."""

    user: str
    at: str = "off"
    last: int = 0
    queue: tuple[int, ...] = ()
    upto: int = 0
    stale: bool = False  # has a re-read ended since it began to read?
    overflowed: bool = False
    id: int = 0  # what the client would come back with
    got: int = 0  # how many of its rows the client has
    wrong: str = ""

    @property
    def live(self) -> bool:
        return self.at == "live"


class World(NamedTuple):
    """Everything there is at one moment."""

    rows: tuple[tuple[int, str], ...]  # stamped and committed: seq, user
    end: int  # last_seq
    stamped: int  # how many batches
    bridges: tuple[Bridge, Bridge]
    hub: Hub
    streams: tuple[Stream, ...]
    faults: int
    leader: int = 0
    pipe: tuple[Item, ...] = ()  # from Redis to the hub
    late: tuple[tuple[Item, ...], ...] = ()  # sent on connections that are given up, and still on their way
    open: Batch | None = None  # published and not committed yet
    deleted: bool = False  # rows are gone from the table, but from nobody who was to get them


@dataclass(frozen=True)
class Bounds:
    """One configuration. `batches`: the users of the rows in each; `streams`: who is live from the start in capitals, others come."""

    batches: tuple[str, ...]
    streams: str
    kinds: frozenset[str]
    faults: int
    hub: str = "at 0"  # its position; or "joined" without one, or "away", with no connection
    rules: Rules = field(default=ALL)


def theirs(world: World, user: str) -> list[int]:
    """The seqs of the rows that a stream of `user` is to get."""
    return [seq for seq, who in world.rows if who in (user, EVERYONE)]


def put_hub(world: World, **changes: object) -> World:
    return world._replace(hub=world.hub._replace(**changes))  # type: ignore[arg-type]


def put_stream(world: World, number: int, stream: Stream) -> World:
    return world._replace(streams=(*world.streams[:number], stream, *world.streams[number + 1 :]))


def put_bridge(world: World, number: int, bridge: Bridge) -> World:
    bridges = (bridge, world.bridges[1]) if number == 0 else (world.bridges[0], bridge)
    return world._replace(bridges=bridges)


def fault(world: World) -> World:
    """One fault fewer is left."""
    return world._replace(faults=world.faults - 1)
