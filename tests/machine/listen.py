"""A stream: subscribe, backlog, hello, live; what its client gets, and the position that it comes back with."""

from __future__ import annotations

from collections.abc import Iterator

from tests.machine.wires import Bounds, Stream, World, fault, put_hub, put_stream, theirs

Steps = Iterator[tuple[str, World]]


def steps(world: World, bounds: Bounds) -> Steps:
    """All that streams do, and all that happens to them."""
    for number, stream in enumerate(world.streams):
        name = f"{stream.user}:"
        for label, after in _next(world, bounds, number, stream):
            yield (f"!{name} {label[1:]}" if label[0] == "!" else f"{name} {label}"), after
        if world.faults and stream.at != "off":
            for label, after in _faults(fault(world), bounds, number, stream):
                yield f"!{name} {label}", after


def _next(world: World, bounds: Bounds, number: int, stream: Stream) -> Steps:
    first = bounds.rules.subscribe_first
    match stream.at:
        case "off":
            at = "asked" if first else "ready"
            yield "!comes", put_stream(world, number, stream._replace(at=at, last=stream.id))
        case "asked":
            yield from _subscribe(world, bounds, number, stream, then="ready")
        case "ready" if not world.hub.reading or not bounds.rules.not_live_in_reread:
            begun = stream._replace(at="begun", queue=(), stale=False, overflowed=False)
            yield "begins to read", put_stream(world, number, begun)
        case "begun":
            yield from _snapshot(world, bounds, number, stream)
        case "backlog":
            yield from _backlog(world, bounds, number, stream)
        case "unsubscribed":
            yield from _subscribe(world, bounds, number, stream, then="live")
        case "live" if stream.queue:
            yield "takes what waits", put_stream(world, number, _take(world, bounds, stream))


def _subscribe(world: World, bounds: Bounds, number: int, stream: Stream, then: str) -> Steps:
    hub = world.hub
    subscribed = put_stream(world, number, stream._replace(at=then))
    if not hub.up or stream.user in hub.subscribed:
        yield "counts as subscribed", subscribed
    elif stream.user not in hub.due:
        heard = hub.heard
        if "stale" in bounds.kinds and bounds.rules.heard_on_arrival:
            # The confirmation came behind all that is on its way now: that has arrived, if it is not handled yet.
            heard = max([heard, *(item.end for item in world.pipe)])
        yield "is subscribed", put_hub(subscribed, subscribed=hub.subscribed + stream.user, heard=heard)


def _snapshot(world: World, bounds: Bounds, number: int, stream: Stream) -> Steps:
    yield "its snapshot", _seen(put_stream(world, number, _read(world, bounds, stream, world.end)), bounds, world.end)
    old = world.end - 1
    known = max(world.hub.heard, world.hub.position or 0)
    believed = old >= known or not bounds.rules.believe_only_fresh
    if world.faults and "stale" in bounds.kinds and believed and old >= 0:
        yield (
            "!an old snapshot",
            _seen(put_stream(fault(world), number, _read(world, bounds, stream, old)), bounds, old),
        )


def _seen(world: World, bounds: Bounds, end: int) -> World:
    """What one read showed is known to the next."""
    if "stale" not in bounds.kinds or not bounds.rules.snapshot_counts_as_heard:
        return world
    return put_hub(world, heard=max(world.hub.heard, end))


def _read(world: World, bounds: Bounds, stream: Stream, upto: int) -> Stream:
    if not bounds.rules.last_seq_not_max:
        upto = 0 if world.deleted else max((seq for seq, _ in world.rows), default=0)
    read = stream._replace(at="backlog", upto=upto)
    if stream.last > upto:
        return read._replace(wrong="its client was reset without a reason")
    return read if bounds.rules.hello_after_backlog else _told(world, read, upto)


def _backlog(world: World, bounds: Bounds, number: int, stream: Stream) -> Steps:
    owed = [seq for seq in theirs(world, stream.user) if stream.last < seq <= stream.upto]
    if owed:
        yield f"writes {owed[0]}", put_stream(world, number, _written(world, stream, owed[0]))
        return
    read = stream._replace(last=stream.upto, upto=0, stale=False, overflowed=False)
    rules, hub = bounds.rules, world.hub
    overtaken = (stream.stale and rules.backlog_reads_on) or (bool(hub.reading) and rules.not_live_in_reread)
    if overtaken or stream.overflowed:
        yield "reads on", put_stream(world, number, read._replace(at="ready", queue=()))
        return
    lower = hub.assumed and read.last < (hub.position or 0) and rules.lowest_live_gives_position
    if (hub.position is None and rules.first_live_gives_position) or lower:
        # The re-read that is still due must begin below what any live stream lacks.
        world = put_hub(world, position=read.last, assumed=True)
    if not rules.subscribe_first and stream.user not in hub.subscribed:
        yield "has read", put_stream(world, number, read._replace(at="unsubscribed"))
        return
    yield "goes live", put_stream(world, number, _told(world, read, read.last)._replace(at="live"))


def _take(world: World, bounds: Bounds, stream: Stream) -> Stream:
    least = stream.last if bounds.rules.compare_with_own_last else max(stream.last, world.hub.position or 0)
    for seq in stream.queue:
        if seq > least or not bounds.rules.drop_by_seq:
            stream = _written(world, stream, seq)
            least = max(least, seq)
    return stream._replace(queue=())


def _written(world: World, stream: Stream, seq: int) -> Stream:
    """An event is out: is it the one that its client lacks?"""
    owed = theirs(world, stream.user)
    if seq not in owed:
        return stream._replace(wrong=f"{seq} came and was not committed")
    if seq in owed[: stream.got]:
        return stream._replace(wrong=f"{seq} came again")
    if owed[stream.got] != seq:
        return stream._replace(wrong=f"{seq} came, and {owed[stream.got]} before it had not")
    return stream._replace(last=seq, id=seq, got=stream.got + 1)


def _told(world: World, stream: Stream, position: int) -> Stream:
    """A block that only says where the client is: does it lack anything below?"""
    owed = theirs(world, stream.user)
    if stream.got < len(owed) and owed[stream.got] <= position:
        return stream._replace(wrong=f"its position became {position}, and {owed[stream.got]} had not come")
    return stream._replace(id=position)


def _faults(world: World, bounds: Bounds, number: int, stream: Stream) -> Steps:
    gone = Stream(stream.user, id=stream.id, got=stream.got)
    if "client" in bounds.kinds:
        yield "its client is cut off", put_stream(world, number, gone)
    if "end" in bounds.kinds and stream.at in ("begun", "backlog", "live"):
        position = _farewell(world, bounds, stream)
        told = gone if position is None else _told(world, gone, position)
        yield f"the server ends it at {position}", put_stream(world, number, told)
    if "mailbox" in bounds.kinds and stream.queue:
        full = stream._replace(queue=())
        if bounds.rules.mailbox_overflow_reads_on:
            full = full._replace(at="ready") if stream.live else full._replace(overflowed=True)
        yield "its queue overflows", put_stream(world, number, full)


def _farewell(world: World, bounds: Bounds, stream: Stream) -> int | None:
    """What the block with only an id says; None: there is none."""
    position = max(stream.last, world.hub.position or 0)
    if not stream.live and bounds.rules.farewell_in_backlog:
        return None
    if stream.queue and bounds.rules.farewell_when_empty:
        return stream.last
    return position
