"""Leadership: one lock, terms, and a failover that loses the end of the log, be it the start of a term.

A seq is `SPAN` times its term, and counts from there. The clock is the server's, in seconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from tests.machine.rules import ALL, Rules

SPAN = 10
NAMES = "AB"
NOBODY = -1


class Bridge(NamedTuple):
    """`given`: the last seq that this process knows of."""

    at: str = "standing by"
    given: int = 0


class Log(NamedTuple):
    """What one server has: rows with their seq (0: none), last_seq and the sequence."""

    rows: tuple[tuple[int, int], ...] = ()
    last_seq: int = 0
    sequence: int = 0


class Cluster(NamedTuple):
    """`given`: every seq that was ever committed, and to which row."""

    log: Log = Log()
    standby: Log = Log()
    bridges: tuple[Bridge, Bridge] = (Bridge(), Bridge())
    holder: int = NOBODY
    clock: int = 1
    inserted: int = 0
    given: tuple[tuple[int, int], ...] = ()
    faults: int = 0
    wrong: str = ""


@dataclass(frozen=True)
class Leading:
    """So many rows and faults; the clock stops at `seconds`. A failover takes a second, unless it is `quick`."""

    rows: int
    faults: int
    seconds: int = 6
    quick: bool = False
    rules: Rules = ALL

    def start(self) -> Cluster:
        return Cluster(faults=self.faults)

    def wrong(self, cluster: Cluster) -> str | None:
        return cluster.wrong or None

    def owed(self, cluster: Cluster) -> str | None:
        waits = any(seq == 0 for _, seq in cluster.log.rows)
        return "a row is not stamped" if waits and cluster.clock < self.seconds else None

    def steps(self, cluster: Cluster) -> Iterator[tuple[str, Cluster]]:
        log = cluster.log
        if cluster.inserted < self.rows:
            inserted = log._replace(rows=(*log.rows, (cluster.inserted, 0)))
            yield "!insert", cluster._replace(log=inserted, inserted=cluster.inserted + 1)
        if cluster.clock < self.seconds:
            yield "a second passes", cluster._replace(clock=cluster.clock + 1)
        if cluster.standby != log:
            yield "!the standby has got all", cluster._replace(standby=log)
        for number in (0, 1):
            yield from self._lead(cluster, number)
        if cluster.faults:
            yield from self._faults(cluster._replace(faults=cluster.faults - 1))

    def _lead(self, cluster: Cluster, number: int) -> Iterator[tuple[str, Cluster]]:
        bridge, name = cluster.bridges[number], NAMES[number]
        if bridge.at == "standing by" and cluster.holder == NOBODY:
            yield f"{name} gets the lock", _put(cluster, number, bridge._replace(at="locked"))._replace(holder=number)
        elif bridge.at == "locked" and (not self._due(cluster) or not self.rules.term_waits_for_clock):
            start = self._start_of_term(cluster, bridge)
            log = cluster.log._replace(last_seq=start, sequence=start)
            yield f"{name} begins a term at {start}", _put(cluster, number, Bridge("leads", start))._replace(log=log)
        elif bridge.at == "leads" and any(seq == 0 for _, seq in cluster.log.rows):
            stamped = self._stamp(cluster, number)
            yield f"{name} stamps up to {stamped.log.last_seq}", stamped

    def _due(self, cluster: Cluster) -> bool:
        """Does the log run ahead of the clock?"""
        return max(cluster.log.last_seq, cluster.log.sequence) // SPAN > cluster.clock

    def _start_of_term(self, cluster: Cluster, bridge: Bridge) -> int:
        above = [seq // SPAN for seq in (cluster.log.last_seq, cluster.log.sequence, bridge.given)]
        if self.rules.term_above_clock:
            above.append(cluster.clock)
        return SPAN * (1 + max(above))

    def _stamp(self, cluster: Cluster, number: int) -> Cluster:
        log, rows, given = cluster.log, [], dict(cluster.given)
        wrong = "" if cluster.holder == number else f"{NAMES[number]} stamps without the lock"
        seq = log.sequence
        for row, had in log.rows:
            seq += had == 0
            if had == 0 and given.setdefault(seq, row) != row:
                wrong = f"{seq} is given to row {row}, and was given to row {given[seq]}"
            rows.append((row, had or seq))
        cluster = _put(cluster, number, Bridge("leads", seq))
        return cluster._replace(log=Log(tuple(rows), seq, seq), given=tuple(sorted(given.items())), wrong=wrong)

    def _faults(self, cluster: Cluster) -> Iterator[tuple[str, Cluster]]:
        for number, bridge in enumerate(cluster.bridges):
            name = NAMES[number]
            lock = NOBODY if cluster.holder == number else cluster.holder
            if cluster.holder == number:
                at = "standing by" if self.rules.fenced or bridge.at == "locked" else bridge.at
                yield (
                    f"!the session of {name} ends",
                    _put(cluster, number, bridge._replace(at=at))._replace(holder=lock),
                )
            if bridge != Bridge():
                yield f"!{name} is killed and started again", _put(cluster, number, Bridge())._replace(holder=lock)
        if cluster.standby != cluster.log:
            bridges = (Bridge(given=cluster.bridges[0].given), Bridge(given=cluster.bridges[1].given))
            later = cluster._replace(clock=cluster.clock + (0 if self.quick else 1))
            yield "!failover", later._replace(log=cluster.standby, bridges=bridges, holder=NOBODY)


def _put(cluster: Cluster, number: int, bridge: Bridge) -> Cluster:
    first, second = cluster.bridges
    return cluster._replace(bridges=(bridge, second) if number == 0 else (first, bridge))
