"""From stamped rows to Redis: batches with their marks, what can happen to them on the way, and the change of leaders."""

from __future__ import annotations

from collections.abc import Iterator

from tests.machine.wires import MARK, Batch, Bounds, Bridge, Item, World, fault, put_bridge

TRIES = 2
Steps = Iterator[tuple[str, World]]
NAMES = "AB"


def steps(world: World, bounds: Bounds) -> Steps:
    """All that bridges do, and all that happens between them and Redis."""
    yield from _stamp(world, bounds)
    for number in (0, 1):
        if world.bridges[number].queue:
            yield from _send(world, bounds, number)
    for number, items in enumerate(world.late):
        late = world.late[:number] + world.late[number + 1 :]
        yield f"late: {told(items)}", _arrive(world._replace(late=late), items)
    yield from _beat(world, bounds)
    if world.faults and "takeover" in bounds.kinds and world.leader == 0 and world.open is None:
        yield from _take_over(fault(world), bounds)


def told(items: tuple[Item, ...]) -> str:
    """For a trace."""
    return " ".join(f"{{{i.start},{i.end}}}" if i.who == MARK else f"{i.who}{i.end}({i.start})" for i in items)


def block(batch: Batch, bounds: Bounds) -> tuple[Item, ...]:
    """What goes to Redis as one MULTI/EXEC."""
    messages = tuple(Item(batch.start, seq, user) for seq, user in batch.rows)
    mark = (Item(batch.start, batch.end, MARK),) if batch.marked else ()
    return messages + mark if bounds.rules.mark_after_batch else mark + messages


def _stamp(world: World, bounds: Bounds) -> Steps:
    if world.open is not None:
        committed = world._replace(rows=world.rows + world.open.rows, end=world.open.end, open=None)
        yield "commit", committed
        yield "!the claim is rolled back", world._replace(open=None)
        return
    if world.stamped == len(bounds.batches):
        return
    users = bounds.batches[world.stamped]
    rows = tuple((world.end + 1 + n, user) for n, user in enumerate(users))
    batch = Batch(world.end, world.end + len(rows), rows)
    world = world._replace(stamped=world.stamped + 1)
    committed = world._replace(rows=world.rows + rows, end=batch.end)
    if not bounds.rules.publish_after_commit:
        yield f"!{NAMES[world.leader]} publishes {users}", _queue(world, bounds, batch)._replace(open=batch)
        return
    yield f"!{NAMES[world.leader]} stamps {users}", _queue(committed, bounds, batch)
    if world.faults and "unsendable" in bounds.kinds:
        ended = batch._replace(rows=(), marked=False)
        if not bounds.rules.unsendable_ends_batch:
            ended = batch._replace(rows=rows[1:])
        yield f"!{NAMES[world.leader]} stamps {users}, the first can't be sent", _queue(fault(committed), bounds, ended)


def _queue(world: World, bounds: Bounds, batch: Batch) -> World:
    bridge = world.bridges[world.leader]
    if not bounds.rules.range_joins_dropped:
        # As one does who takes for the end of the last range what the connection saw last.
        batch = batch._replace(start=bridge.end)
    return put_bridge(world, world.leader, bridge._replace(queue=(*bridge.queue, batch)))


def _arrive(world: World, items: tuple[Item, ...]) -> World:
    """Redis hands on what the hub has subscribed to."""
    heard = tuple(item for item in items if item.who in world.hub.subscribed)
    return world._replace(pipe=world.pipe + heard)


def _send(world: World, bounds: Bounds, number: int) -> Steps:
    bridge, name = world.bridges[number], NAMES[number]
    batch = bridge.queue[0]
    items = block(batch, bounds)
    sent = put_bridge(world, number, _sent(bridge, bounds))
    yield f"{name} sends {told(items)}", _arrive(sent, items)
    if not world.faults:
        return
    broken = fault(world)
    again = put_bridge(broken, number, _failed(bridge, bounds))
    if "refuse" in bounds.kinds and batch.rows and not bounds.rules.no_mark_if_refused:
        yield f"!{name}: one of {told(items)} is refused", _arrive(fault(sent), items[1:])
    elif "refuse" in bounds.kinds:
        yield f"!{name}: {told(items)} is refused or lost", again
    if "unknown" in bounds.kinds:
        yield f"!{name} sends {told(items)}, and gets no answer", _arrive(again, items)
    if "held" in bounds.kinds:
        yield f"!{name}: {told(items)} is held up", again._replace(late=tuple(sorted((*again.late, items))))
    if "drop" in bounds.kinds:
        yield f"!{name} drops all it has queued", put_bridge(broken, number, bridge._replace(queue=(), tries=0))


def _sent(bridge: Bridge, bounds: Bounds) -> Bridge:
    batch = bridge.queue[0]
    last = bridge.last
    if not bounds.rules.idle_mark_is_empty and batch.start != batch.end:
        last = batch
    end = bridge.end if bounds.rules.range_joins_dropped else max(bridge.end, batch.end)
    return Bridge(bridge.queue[1:], 0, end, last)


def _failed(bridge: Bridge, bounds: Bounds) -> Bridge:
    """Again, from its first message; not a mark alone, and not a third time."""
    batch, *others = bridge.queue
    if not batch.rows or bridge.tries + 1 == TRIES:
        last = bridge.last if bounds.rules.idle_mark_is_empty else batch
        return bridge._replace(queue=tuple(others), tries=0, last=last)
    if not bounds.rules.whole_batch_again:
        batch = batch._replace(rows=batch.rows[1:])
    return bridge._replace(queue=(batch, *others), tries=bridge.tries + 1)


def _beat(world: World, bounds: Bounds) -> Steps:
    """The leader's mark of every second: at rest for as long as it is news, else as often as there are faults left."""
    bridge, hub = world.bridges[world.leader], world.hub
    if bridge.queue or world.open is not None:
        return
    mark = Batch(world.end, world.end)
    if not bounds.rules.idle_mark_is_empty and bridge.last is not None:
        mark = Batch(bridge.last.start, bridge.last.end)
    beating = put_bridge(world, world.leader, bridge._replace(queue=(mark,)))
    at_rest = hub.joined and not (world.bridges[1 - world.leader].queue or world.late or world.pipe)
    if at_rest and not hub.wanted and not hub.reading and hub.position != world.end:
        yield f"{NAMES[world.leader]} beats", beating
    elif world.faults and "beat" in bounds.kinds:
        yield f"!{NAMES[world.leader]} beats", fault(beating)


def _take_over(world: World, bounds: Bounds) -> Steps:
    """B begins a term; what A has queued may still go, late."""
    start = world.end + 1
    end = world.end if bounds.rules.last_seq_after_lock else 0
    if not bounds.rules.term_mark_joins:
        end = start
    led = world._replace(leader=1, end=start)
    begun = Bridge((Batch(end, start),), end=0 if bounds.rules.range_joins_dropped else start)
    yield "!B takes over", put_bridge(led, 1, begun)
    if world.bridges[0].queue:
        yield "!A dies, B takes over", put_bridge(put_bridge(led, 1, begun), 0, Bridge())
