"""The hub: items handled in order, holes found, rows read again; its connection to Redis and what can happen to it."""

from __future__ import annotations

from collections.abc import Iterator

from tests.machine.publish import told
from tests.machine.wires import (
    CONFIRMATION,
    EVERYONE,
    MARK,
    Bounds,
    Hub,
    Item,
    Stream,
    World,
    fault,
    put_hub,
)

Steps = Iterator[tuple[str, World]]
_CONFIRMED = Item(0, 0, CONFIRMATION)


def steps(world: World, bounds: Bounds) -> Steps:
    """All that the hub does, and all that happens between it and Redis."""
    hub = world.hub
    yield from _connection(world, bounds)
    yield from _reread(world, bounds)
    if _joined(hub, bounds) and not hub.wanted and not hub.reading and world.pipe:
        yield from _handle(world, bounds)
    if not bounds.rules.marks_wait:
        yield from _overtake(world)
    if world.faults:
        yield from _faults(world, bounds)


def _joined(hub: Hub, bounds: Bounds) -> bool:
    return hub.joined or (hub.up and not bounds.rules.all_channels_confirmed and hub.subscribed != "")


def _connection(world: World, bounds: Bounds) -> Steps:
    hub = world.hub
    if not hub.up:
        users = {stream.user for stream in world.streams if _wants(stream, bounds)}
        yield "the hub connects", put_hub(world, up=True, due="".join([MARK, EVERYONE, *sorted(users)]))
    elif hub.due:
        joined = put_hub(world, subscribed=hub.subscribed + hub.due[0], due=hub.due[1:])
        complete = len(hub.due) == 1 if bounds.rules.all_channels_confirmed else not hub.subscribed
        if complete and bounds.rules.position_from_snapshot:
            joined = _want(joined, bounds)
        yield f"Redis confirms {hub.due[0]}", joined
    if not hub.joined and not hub.wanted and not hub.reading and hub.position != world.end:
        yield "not joined: look", put_hub(world, wanted=True)
    if hub.ghost:
        pipe = (*world.pipe, _CONFIRMED)
        back = put_hub(world._replace(pipe=pipe), subscribed=hub.subscribed + hub.ghost[0], ghost=hub.ghost[1:])
        yield f"hidden: Redis confirms {hub.ghost[0]} again", back
    if _CONFIRMED in world.pipe:
        if bounds.rules.unasked_confirmation:
            yield "a confirmation nobody asked for", _interrupted(world, bounds)
        elif world.pipe[0] == _CONFIRMED:
            yield "a confirmation nobody asked for", world._replace(pipe=world.pipe[1:])


def _wants(stream: Stream, bounds: Bounds) -> bool:
    """Is its channel to be subscribed?"""
    return stream.at != "off" if bounds.rules.subscribe_first else stream.at in ("unsubscribed", "live")


def _want(world: World, bounds: Bounds) -> World:
    if world.hub.reading and not bounds.rules.reread_after_drop:
        return world
    return put_hub(world, wanted=True)


def _interrupted(world: World, bounds: Bounds) -> World:
    """The connection is thrown away."""
    world = put_hub(world._replace(pipe=()), up=False, subscribed="", due="", ghost="")
    if not bounds.rules.position_from_snapshot:
        return put_hub(world, position=None)
    return _want(world, bounds)


def _faults(world: World, bounds: Bounds) -> Steps:
    hub, broken = world.hub, fault(world)
    if "cut" in bounds.kinds and hub.up:
        yield "!the hub is cut off", _interrupted(broken, bounds)
    if "hidden" in bounds.kinds and hub.joined and not hub.ghost and _CONFIRMED not in world.pipe:
        for kept in range(len(world.pipe) + 1):
            lost = put_hub(broken._replace(pipe=world.pipe[:kept]), subscribed="", ghost=hub.subscribed)
            yield f"!hidden: the connection is replaced, {kept} items still arrive", lost
    if "inbox" in bounds.kinds and world.pipe:
        waiting = world.pipe.index(_CONFIRMED) if _CONFIRMED in world.pipe else len(world.pipe)
        for dropped in range(1, waiting + 1):
            rest = broken._replace(pipe=world.pipe[dropped:])
            rest = _want(rest, bounds) if bounds.rules.overflow_rereads else rest
            yield f"!the inbox overflows: {told(world.pipe[:dropped])}", rest
    if "look" in bounds.kinds and not hub.wanted:
        yield "!the hub looks unasked", put_hub(broken, wanted=True)


def _reread(world: World, bounds: Bounds) -> Steps:
    hub = world.hub
    if hub.wanted and not hub.reading:
        yield "a re-read: its snapshot", _begin(world, bounds, world.end)
        believed = not bounds.rules.believe_only_fresh or world.end - 1 >= max(hub.heard, hub.position or 0)
        if world.faults and "stale" in bounds.kinds and world.end and believed:
            yield "!a re-read: an old snapshot", _begin(fault(world), bounds, world.end - 1)
    elif hub.reading:
        rows_next = (hub.reading == 1) == bounds.rules.rows_before_position
        moved = _rows_out(world) if rows_next else _moved(world)
        if hub.reading == 1:
            yield "a re-read: rows out" if rows_next else "a re-read: position", put_hub(moved, reading=2)
        else:
            streams = tuple(_overtaken(stream) for stream in moved.streams)
            done = put_hub(moved._replace(streams=streams), reading=0, upto=0, rows=())
            yield "a re-read: rows out" if rows_next else "a re-read: position", done


def _begin(world: World, bounds: Bounds, upto: int) -> World:
    hub = world.hub
    live = {stream.user for stream in world.streams if stream.live}
    after = world.end if hub.position is None else hub.position
    rows = tuple((s, w) for s, w in world.rows if after < s <= upto and (w in live or (live and w == EVERYONE)))
    if bounds.rules.backlog_reads_on:
        streams = tuple(s if s.live else s._replace(queue=(), overflowed=False) for s in world.streams)
        world = world._replace(streams=streams)
    return put_hub(world, wanted=False, reading=1, upto=upto, rows=rows)


def _rows_out(world: World) -> World:
    for seq, who in world.hub.rows:
        world = _hand_out(world, seq, who, live_only=True)
    return put_hub(world, rows=())


def _moved(world: World) -> World:
    hub = world.hub
    return put_hub(world, position=max(hub.upto, hub.position or 0), assumed=False)


def _overtaken(stream: Stream) -> Stream:
    return stream._replace(stale=True) if stream.at in ("begun", "backlog") else stream


def _hand_out(world: World, seq: int, who: str, *, live_only: bool = False) -> World:
    streams = tuple(
        stream._replace(queue=(*stream.queue, seq))
        if who in (stream.user, EVERYONE)
        and (stream.live or (stream.at in ("begun", "backlog") and not live_only))
        and not stream.overflowed
        else stream
        for stream in world.streams
    )
    return world._replace(streams=streams)


def _overtake(world: World) -> Steps:
    """What a hub does that takes in marks as they arrive."""
    position = world.hub.position
    for number, item in enumerate(world.pipe):
        if item.who == MARK and position is not None and item.start <= position < item.end:
            rest = world._replace(pipe=world.pipe[:number] + world.pipe[number + 1 :])
            yield f"the hub takes in {told((item,))}", put_hub(rest, position=item.end)


def _handle(world: World, bounds: Bounds) -> Steps:
    item, hub = world.pipe[0], world.hub
    if item == _CONFIRMED:
        return
    if not bounds.rules.position_from_snapshot and hub.position is None and item.who == MARK:
        yield f"the hub begins at {told((item,))}", put_hub(world._replace(pipe=world.pipe[1:]), position=item.end)
        return
    hole = hub.position is None or item.start > hub.position
    if hole and (item.who == MARK or bounds.rules.holes_at_message):
        yield f"the hub finds a hole at {told((item,))}", put_hub(world, wanted=True)
        return
    rest = world._replace(pipe=world.pipe[1:])
    position = hub.position or 0
    if item.who == MARK:
        if item.start < position < item.end:
            yield f"the hub finds itself inside of {told((item,))}", put_hub(world, wanted=True)
            return
        rest = put_hub(rest, position=max(position, item.end))
    elif item.end > position:
        rest = _hand_out(rest, item.end, item.who)
    if "stale" in bounds.kinds:
        rest = put_hub(rest, heard=max(hub.heard, item.end))
    yield f"the hub handles {told((item,))}", rest
