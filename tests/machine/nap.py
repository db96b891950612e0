"""Falling asleep: writers that look at the doorbell's mark, and a leader that must never sleep on a row that nobody rings for.

There is no poll here. Bridges come one after another; each listens first, then claims, then falls asleep step by step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from tests.machine.rules import ALL, Rules

NOT_BEGUN, INSERTED, LOOKED, COMMITTED, GONE = range(5)


class Writer(NamedTuple):
    """A transaction with one row: gets its xid with the INSERT, looks at the mark then, and rings with its COMMIT."""

    at: int = NOT_BEGUN
    xid: int = 0
    rings: bool = False
    claimed: bool = False


class Night(NamedTuple):
    """`at` is what the bridge does next."""

    writers: tuple[Writer, ...]
    at: str
    waiting: bool = False
    listens: bool = False
    rung: bool = False
    own_xid: int = 0
    next_xid: int = 1
    faults: int = 0


@dataclass(frozen=True)
class Sleep:
    """So many writers, so many faults: a lost LISTEN, a new leader, busy again under load."""

    writers: int = 3
    faults: int = 1
    rules: Rules = ALL

    def start(self) -> Night:
        return Night((Writer(),) * self.writers, at=self._order()[0], faults=self.faults)

    def wrong(self, night: Night) -> str | None:
        return None

    def owed(self, night: Night) -> str | None:
        missed = any(writer.at == COMMITTED and not writer.claimed for writer in night.writers)
        return "a committed row was not claimed" if missed else None

    def steps(self, night: Night) -> Iterator[tuple[str, Night]]:
        for number, writer in enumerate(night.writers):
            if writer.at != NOT_BEGUN or night.writers.index(writer) == number:  # they are all alike: the first begins
                for label, after in self._writes(night, number, writer):
                    yield f"{'!' if writer.at == NOT_BEGUN else ''}writer {number}: {label}", after
        yield from self._bridge(night)
        if night.faults:
            yield from self._faults(night._replace(faults=night.faults - 1))

    def _order(self) -> list[str]:
        """The statements up to the first look."""
        order = ["listen", "first claim", "set waiting", "take xid", "claim"]
        if not self.rules.listen_before_waiting:
            order = ["first claim", "set waiting", "listen", "take xid", "claim"]
        if not self.rules.listen_before_last_claim:
            order.remove("listen")
        if not self.rules.xid_after_waiting:
            order.remove("take xid")
            order.insert(order.index("set waiting"), "take xid")
        return order

    def _writes(self, night: Night, number: int, writer: Writer) -> Iterator[tuple[str, Night]]:
        def put(changed: Writer) -> Night:
            return night._replace(writers=(*night.writers[:number], changed, *night.writers[number + 1 :]))

        if writer.at == NOT_BEGUN:
            begun = put(Writer(INSERTED, xid=night.next_xid))
            yield "insert", begun._replace(next_xid=night.next_xid + 1)
        elif writer.at == INSERTED:
            yield "look", put(writer._replace(at=LOOKED, rings=night.waiting))
        elif writer.at == LOOKED:
            rung = night.rung or (writer.rings and night.listens)
            yield "commit", put(Writer(COMMITTED))._replace(rung=rung)
            yield "roll back", put(Writer(GONE))

    def _bridge(self, night: Night) -> Iterator[tuple[str, Night]]:
        order = self._order()
        if night.at in order:
            following = [*order, "look" if self.rules.look_at_xmin else self._after_look()]
            yield night.at, _done(night, night.at)._replace(at=following[order.index(night.at) + 1])
        elif night.at == "look":
            oldest = min([w.xid for w in night.writers if w.at in (INSERTED, LOOKED)], default=night.next_xid)
            yield "look", night._replace(at=self._after_look() if oldest > night.own_xid else "claim again")
        elif night.at == "claim again":
            yield "claim again", _done(night, "claim")._replace(at="look")
        elif night.at == "last claim":
            then = "asleep" if self.rules.listen_before_last_claim else "late listen"
            yield "last claim", _done(night, "claim")._replace(at=then)
        elif night.at == "late listen":
            yield "listen", night._replace(at="asleep", listens=True)
        elif night.rung:
            yield "woken: claim", _done(night, "claim")
        if not night.listens and night.at not in self._before_listen():
            # It is another session than the one that claims, and comes back in its own time.
            yield "listen again", night._replace(listens=True, rung=self.rules.claim_after_listen or night.rung)

    def _before_listen(self) -> list[str]:
        order = self._order()
        if "listen" not in order:
            return [*order, "look", "claim again", "last claim", "late listen"]
        return order[: order.index("listen") + 1]

    def _after_look(self) -> str:
        return "last claim" if self.rules.last_claim else "asleep"

    def _faults(self, night: Night) -> Iterator[tuple[str, Night]]:
        order = self._order()
        if night.listens:
            yield "!LISTEN is lost", night._replace(listens=False, rung=False)
        if night.at not in ("listen", "first claim"):
            begun = night if self.rules.each_leader_falls_asleep else _done(night, "claim")
            at = order[0] if self.rules.each_leader_falls_asleep else "asleep"
            yield "!a new leader", begun._replace(at=at, listens=False, rung=False, own_xid=0)
        if night.at == "asleep" and night.waiting:
            yield "!busy again", night._replace(waiting=False, at=order[order.index("first claim") + 1])


def _done(night: Night, what: str) -> Night:
    match what:
        case "listen":
            return night._replace(listens=True)
        case "set waiting":
            return night._replace(waiting=True)
        case "take xid":
            return night._replace(own_xid=night.next_xid, next_xid=night.next_xid + 1)
    writers = tuple(w._replace(claimed=True) if w.at == COMMITTED else w for w in night.writers)
    return night._replace(writers=writers, rung=False)
