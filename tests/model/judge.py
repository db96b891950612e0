"""Was the promise kept? Looked at once a walk has come to rest: the table is the truth, what the browsers got is the evidence."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from math import inf

from tests.model.browser import Browser
from tests.model.claim import EVERYONE
from tests.model.postgres import Row, State
from tests.model.world import World


def violations(world: World) -> list[str]:
    """What was promised and not kept; nothing, if all is well."""
    found = [f"fencing: {name} by who does not lead" for name in world.primary.unfenced]
    found += [*_crashes(world), *_seqs_given_twice(world), *_disorder(world)]
    for browser in world.browsers:
        found += _wrong(world, browser)
        found += _resets(world, browser)
        found += _lost(browser, world.primary.state)
    return found


def missing(browser: Browser, state: State) -> list[Row]:
    """What is owed to it and has not come."""
    got = {(event.seq, event.text) for event in browser.got}
    return [row for row in _owed(browser, state) if (row.seq, row.name) not in got]


def _owed(browser: Browser, state: State) -> Iterator[Row]:
    """Rows of its user above where it began, but for what a reset openly skipped.

    Of what was pruned: all above the first position that it was told.
    """
    if browser.origin is None:
        return
    skipped = [(skip.position or 0, skip.to) for skip in browser.resets]
    told = inf if browser.told is None else browser.told
    rows = [(row, browser.origin) for row in state.rows.values()] + [(row, told) for row in state.gone.values()]
    for row, above in rows:
        if row.user not in (browser.user, EVERYONE) or row.seq is None or row.seq <= above:
            continue
        if not any(position < row.seq <= to for position, to in skipped):
            yield row


def _lost(browser: Browser, state: State) -> list[str]:
    return [f"I1 {browser} lost {row.name} (seq {row.seq})" for row in missing(browser, state)]


def _wrong(world: World, browser: Browser) -> Iterator[str]:
    starts = {skip.events for skip in browser.resets if skip.reason == "future"}
    for number, (before, after) in enumerate(pairwise(browser.got), 1):
        if after.seq <= before.seq and number not in starts:
            yield f"I2 {browser} got seq {after.seq} ({after.text}) after {before.seq} ({before.text})"
    texts = [event.text for event in browser.got]
    # A row that survived a failover while its stamp was lost comes again, under another seq.
    if len(set(texts)) < len(texts) and not world.lost_tails:
        yield f"I2 {browser} got a row twice: {texts}"
    for event in browser.got:
        if event.user not in (browser.user, EVERYONE):
            yield f"I4 {browser} of user {browser.user} got {event.text} of {event.user}"
        if event.text not in world.writers.committed:
            yield f"I5 {browser} got {event.text}, which was never committed"


def _resets(world: World, browser: Browser) -> Iterator[str]:
    for skip in browser.resets:
        if not (world.lost_tails if skip.reason == "future" else skip.reason == "pruned" and world.lost_history):
            yield f"I9 {browser} was told {skip.reason} at {skip.position}, without a reason"


def _crashes(world: World) -> Iterator[str]:
    yield from world.loop.failures
    for part in world.parts:
        if part.failure is not None:
            yield f"{part.name} died of {part.failure!r}"


def _seqs_given_twice(world: World) -> Iterator[str]:
    names: dict[int, str] = {}
    for event in (event for browser in world.browsers for event in browser.got):
        if names.setdefault(event.seq, event.text) != event.text:
            yield f"seq {event.seq} was given to {names[event.seq]} and to {event.text}"


def _disorder(world: World) -> Iterator[str]:
    """I3: of two rows of one stream, the one committed before the other was inserted comes first."""
    inserted, committed = world.writers.inserted, world.writers.committed
    rows = sorted(
        (row for row in world.primary.state.rows.values() if row.seq is not None), key=lambda row: row.seq or 0
    )
    for place, later in enumerate(rows):
        for earlier in rows[:place]:
            together = earlier.user == later.user or EVERYONE in (earlier.user, later.user)
            name, other = earlier.name, later.name
            if together and committed[other] < inserted[name]:
                yield f"I3 {name} was inserted after {other} was committed, and comes before it"
