"""Falling asleep misses no row, in every interleaving of the bridge's steps with writers' (protocol.md 6.2)."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import pytest

from bridge.nap import Nap, State


class Writer(NamedTuple):
    """An INSERT: takes an xid, looks at the doorbell's mark, commits; rings then if the mark said so."""

    step: int = 0  # 0 not begun, 1 has its xid and row, 2 has looked, 3 committed, 4 gone without a trace
    xid: int = 0
    rings: bool = False
    claimed: bool = False


@dataclass(frozen=True)
class World:
    """Everything there is at one moment."""

    writers: tuple[Writer, ...]
    nap: Nap = field(default_factory=Nap)
    bridge: str = "set waiting"
    waiting: bool = False
    rung: bool = False
    next_xid: int = 700

    @property
    def oldest_running(self) -> int:
        return min([writer.xid for writer in self.writers if writer.step in (1, 2)] + [self.next_xid])

    def key(self) -> tuple[object, ...]:
        return (
            self.writers,
            self.nap.state,
            vars(self.nap)["_own_xid"],
            self.bridge,
            self.waiting,
            self.rung,
            self.next_xid,
        )


def writers_next(world: World) -> Iterator[World]:
    for number, writer in enumerate(world.writers):

        def put(after: Writer, number: int = number, **changes: bool | int) -> World:
            all_of_them = (*world.writers[:number], after, *world.writers[number + 1 :])
            return replace(world, writers=all_of_them, nap=copy.copy(world.nap), **changes)  # type: ignore[arg-type]

        match writer.step:
            case 0:
                yield put(writer._replace(step=1, xid=world.next_xid), next_xid=world.next_xid + 1)
            case 1:
                yield put(writer._replace(step=2, rings=world.waiting))
            case 2:
                yield put(writer._replace(step=3), rung=world.rung or writer.rings)
                yield put(writer._replace(step=4))


def bridge_next(world: World) -> World | None:
    """One statement of the sequencer, in its order; None: it sleeps."""
    nap = copy.copy(world.nap)
    claimed = tuple(writer._replace(claimed=writer.claimed or writer.step == 3) for writer in world.writers)
    match world.bridge:
        case "set waiting":
            return replace(world, nap=nap, waiting=True, bridge="take xid")
        case "take xid":
            nap.waiting_set(world.next_xid)
            return replace(world, nap=nap, next_xid=world.next_xid + 1, bridge="claim")
        case "claim":
            nap.claimed_all()
            return replace(world, nap=nap, writers=claimed, rung=False, bridge="look or sleep")
        case "look or sleep" if nap.state is State.WAITING:
            nap.looked(world.oldest_running)
            # If it was too early the bridge polls, and each poll claims and looks again.
            return replace(
                world, nap=nap, bridge="claim" if nap.state in (State.WAITING, State.LAST_CLAIM) else "look or sleep"
            )
        case "look or sleep" if world.rung:
            return replace(world, nap=nap, bridge="claim")
    return None


def missed(kind: type[Nap], writers: int) -> list[World]:
    """All worlds where the bridge sleeps, every writer has ended, no bell is ringing and a committed row is not claimed."""
    found = []
    todo = [World((Writer(),) * writers, kind())]
    seen = set()
    ends = 0
    while todo:
        world = todo.pop()
        if world.key() in seen:
            continue
        seen.add(world.key())
        bridge = bridge_next(world)
        others = list(writers_next(world))
        todo += others + ([bridge] if bridge else [])
        if bridge is None and not others:
            ends += 1
            if any(writer.step == 3 and not writer.claimed for writer in world.writers):
                found.append(world)
    assert ends, "the model never comes to its end"
    return found


def test_no_row_is_missed() -> None:
    """Rule 6.2: whatever three writers do, and whenever, the sleeping bridge has claimed their rows or is rung."""
    assert missed(Nap, 3) == []


class WithoutWaiting(Nap):
    """Leaves out step 3: does not wait until everybody who saw busy has ended."""

    def looked(self, oldest_running: int) -> bool:
        return super().looked(self._own_xid + 1)


class WithoutLastClaim(Nap):
    """Leaves out step 4: sleeps once nobody is left who saw busy."""

    def looked(self, oldest_running: int) -> bool:
        if super().looked(oldest_running):
            self.claimed_all()
        return False


@pytest.mark.parametrize("broken", [WithoutWaiting, WithoutLastClaim])
def test_the_model_finds_what_each_step_is_for(broken: type[Nap]) -> None:
    assert missed(broken, 2)


def test_an_old_transaction_keeps_it_awake() -> None:
    """Rule 6.3: listen and poll meanwhile."""
    nap = Nap()
    nap.waiting_set(10)
    for oldest in (5, 10):
        assert not nap.looked(oldest)
        nap.claimed_all()
        assert nap.state is State.WAITING
    assert nap.looked(11)
    nap.claimed_all()
    assert nap.state is State.SETTLED


def test_busy_again_begins_anew() -> None:
    nap = Nap()
    nap.waiting_set(10)
    assert nap.looked(11)
    nap.woke_busy()
    nap.claimed_all()
    assert nap.state is State.BUSY
    assert not nap.looked(12)
