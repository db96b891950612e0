"""Postgres as the protocol sees it: transactions with their ids, locks, snapshots, a doorbell, and one method for each statement.

A statement sees one state and changes it in one step, which is what a snapshot and an autocommit come to. Named `do_…` after the files in
db/queries, with the parameters and columns of those.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import psycopg

from tests.model.claim import EVERYONE, Claimed, claim
from tests.model.claim import Row as Unsequenced

WRITES = {"start_term", "claim", "doorbell", "renew_doorbell", "own_xid", "listen"}
FENCED = {"start_term", "claim", "doorbell", "renew_doorbell"}
PAGE = 2  # rows, where the real statements say 500 or 1,000
TERM = 1_000_000

Rows = list[tuple[Any, ...]]


class Row(NamedTuple):
    """A row of notifications; its name is the first word of `text`, since ids may be given again after a lost tail."""

    id: int
    user: str | None
    text: str
    seq: int | None = None
    born: int = 0

    @property
    def name(self) -> str:
        return self.text.split()[0]

    @property
    def body(self) -> str:
        user = "null" if self.user is None else self.user
        return f'{{"id":{self.id},"user_id":{user},"message":"{self.text}"}}'


@dataclass
class State:
    """What is on the disk."""

    rows: dict[int, Row] = field(default_factory=dict)
    last_seq: int = 0
    pruned_seq: int = 0
    seq_value: int = 0
    doorbell: int = 0
    next_id: int = 1
    gone: dict[int, Row] = field(default_factory=dict)  # pruned or truncated: whoever misses one must be told

    terms: dict[int, int] = field(default_factory=dict)  # where each starts, and the last seq before it

    def copy(self) -> State:
        return replace(self, rows=dict(self.rows), gone=dict(self.gone), terms=dict(self.terms))


@dataclass(eq=False)
class Transaction:
    """One that writes, or locks rows."""

    xid: int
    rows: list[Row] = field(default_factory=list)
    rings: bool = False
    locks: set[int] = field(default_factory=set)


@dataclass(eq=False)
class Session:
    """One client's; `said` is when it last did something."""

    name: str
    said: float
    ring: Callable[[], None]  # a NOTIFY for it
    end: Callable[[], None]  # the server ends it
    listening: bool = False


def _seq(row: Row) -> int:
    return row.seq or 0


class Database:
    """One server."""

    def __init__(self, state: State, now: Callable[[], float]) -> None:
        self.state = state
        self.now = now
        self.up = True
        self.read_only = False
        self.sessions: set[Session] = set()
        self.leader: Session | None = None
        self.running: list[Transaction] = []
        self.unfenced: set[str] = set()  # what was done by a session that does not hold the leader lock
        self.next_xid = 700
        self.completed = 699

    # What the world does

    def begin(self) -> Transaction:
        """A transaction with an id."""
        transaction = Transaction(self._new_xid())
        self.running.append(transaction)
        return transaction

    def insert(self, transaction: Transaction, user: str | None, text: str) -> Row:
        row = Row(self.state.next_id, user, text, born=transaction.xid)
        self.state.next_id += 1
        transaction.rows.append(row)
        return row

    def look(self, transaction: Transaction) -> None:
        """The trigger, after the insert."""
        transaction.rings = transaction.rings or self.state.doorbell == 1

    def commit(self, transaction: Transaction) -> None:
        if transaction in self.running:
            self._finish(transaction)
            self.state.rows.update({row.id: row for row in transaction.rows})
            for session in self.sessions if transaction.rings else ():
                if session.listening:
                    session.ring()

    def roll_back(self, transaction: Transaction) -> None:
        if transaction in self.running:
            self._finish(transaction)

    def stop(self) -> None:
        """A crash: what is not committed is gone, and so is every session."""
        self.up = False
        for transaction in list(self.running):
            self.roll_back(transaction)
        for session in list(self.sessions):
            session.end()

    def left(self, session: Session) -> None:
        """The session is over; its lock with it."""
        self.sessions.discard(session)
        if self.leader is session:
            self.leader = None

    def _new_xid(self) -> int:
        self.next_xid += 1
        return self.next_xid - 1

    def _finish(self, transaction: Transaction) -> None:
        self.running.remove(transaction)
        self.completed = max(self.completed, transaction.xid)

    def forget(self) -> None:
        """rowcast.forget, for half of what there is: said before the rows go."""
        seqs = sorted(row.seq for row in self.state.rows.values() if row.seq is not None)
        if seqs:
            self.state.pruned_seq = max(self.state.pruned_seq, seqs[len(seqs) // 2])

    def prune(self) -> None:
        """What was forgotten goes."""
        self._remove(lambda row: row.seq is not None and row.seq <= self.state.pruned_seq)

    def truncate(self) -> None:
        """With its trigger."""
        self.state.pruned_seq = self.state.last_seq
        self._remove(lambda row: True)

    def delete_newest(self) -> None:
        """By hand: nobody is told, and nobody is owed it any more."""
        newest = max((row for row in self.state.rows.values() if row.seq is not None), key=_seq, default=None)
        if newest is not None:
            del self.state.rows[newest.id]

    def _remove(self, which: Callable[[Row], bool]) -> None:
        for row in [row for row in self.state.rows.values() if which(row)]:
            del self.state.rows[row.id]
            if row.seq is not None:
                self.state.gone[row.seq] = row

    @property
    def locked(self) -> set[int]:
        """The rows that somebody has locked."""
        return {id_ for transaction in self.running for id_ in transaction.locks}

    @property
    def unsequenced(self) -> list[Unsequenced]:
        return [Unsequenced(row.id, row.user) for row in self.state.rows.values() if row.seq is None]

    # The statements

    def execute(self, session: Session, name: str, parameters: dict[str, Any]) -> Rows:
        """The rows that the statement returns; raises psycopg.Error."""
        session.said = self.now()
        if name in FENCED and session is not self.leader:
            self.unfenced.add(name)
        if self.read_only and name in WRITES:
            raise psycopg.errors.ReadOnlySqlTransaction(f"cannot execute {name} in a read-only transaction")
        statement: Callable[..., Rows] = getattr(self, f"do_{name}")
        return statement(session, **parameters)

    def do_session(self, session: Session, timeout: str) -> Rows:
        return [(timeout,)]

    def do_ping(self, session: Session) -> Rows:
        return [(1,)]

    def do_queue_usage(self, session: Session) -> Rows:
        return [(0.0,)]

    def do_listen(self, session: Session) -> Rows:
        session.listening = True
        return []

    def do_try_lock(self, session: Session, **lock: int) -> Rows:
        if self.leader is None:
            self.leader = session
        return [(self.leader is session,)]

    def do_unlock(self, session: Session, **lock: int) -> Rows:
        if self.leader is session:
            self.leader = None
        return [(True,)]

    def do_stuck_leader(self, session: Session, **parameters: Any) -> Rows:
        return []

    def do_term_due(self, session: Session) -> Rows:
        ahead = max(self.state.last_seq, self.state.seq_value) // TERM - self.now()
        return [(ahead if 0 <= ahead <= 2 else 0.0,)]

    def do_start_term(self, session: Session, above: int) -> Rows:
        before = self.state.last_seq
        start = TERM * (1 + max(before // TERM, self.state.seq_value // TERM, above // TERM, int(self.now())))
        kept = {at: ended for at, ended in self.state.terms.items() if self.state.pruned_seq < at <= before}
        self.state.terms = kept | {start: before}
        self.state.last_seq = self.state.seq_value = start
        return [(before, start)]

    def do_doorbell(self, session: Session, mark: int, seconds: int) -> Rows:
        self.state.doorbell = mark
        return [(mark,)]

    def do_renew_doorbell(self, session: Session, seconds: int) -> Rows:
        return [(0,)]

    def do_own_xid(self, session: Session) -> Rows:
        xid = self._new_xid()
        self.completed = max(self.completed, xid)
        return [(xid,)]

    def do_oldest_running(self, session: Session) -> Rows:
        xmax = self.completed + 1
        return [(min([transaction.xid for transaction in self.running] + [xmax]),)]

    def do_claim(  # noqa: PLR0917 -- the parameters of the statement
        self,
        session: Session,
        batch: int,
        held: str,
        lowest: int | None,
        log_end: int | None,
        since: str | None,
        everywhere: bool,
        passing: bool,
        upto: int | None,
        newcomers: str,
    ) -> Rows:
        state = self.state
        start = state.last_seq
        if log_end is not None and (start != log_end or state.seq_value < log_end):
            return [(False, state.doorbell, start, None, 0, True, False, held, lowest, "", 0.0)]
        users = frozenset(filter(None, held.strip("{}").split(",")))
        snapshot = self._snapshot()
        rows = self.unsequenced if everywhere else self._after(since, upto)
        done = (
            self._pass(rows, batch, users, lowest, newcomers)
            if passing
            else self._judge(rows, batch, users, lowest, everywhere=everywhere)
        )
        for row in done.rows:
            state.seq_value += 1
            state.last_seq = state.seq_value
            state.rows[row.id] = state.rows[row.id]._replace(seq=state.seq_value)
        left_out = "{" + ",".join(sorted(done.users)) + "}"
        told = (everywhere, done.full, left_out, done.lowest, snapshot, 0.0)
        return [(True, state.doorbell, start, state.last_seq, len(done.rows), *told)]

    def _judge(
        self, rows: list[Unsequenced], batch: int, users: frozenset[str], lowest: int | None, *, everywhere: bool
    ) -> Claimed:
        rows = [row for row in rows if row.user not in users]
        if len(rows) > batch and not everywhere:
            return Claimed((), True, users, lowest)
        return claim(rows, self.locked, users, lowest, batch=batch)

    def _pass(
        self, rows: list[Unsequenced], batch: int, users: frozenset[str], lowest: int | None, newcomers: str
    ) -> Claimed:
        first = min((row.id for row in rows if row.user is EVERYONE), default=self.state.next_id)
        passing = [row for row in rows if row.id < first and f'"{row.user}"' in newcomers]
        done = self._judge(passing, batch, users, lowest, everywhere=False)
        return Claimed(done.rows, done.full, done.users, min(filter(None, (lowest, done.lowest)), default=None))

    def do_backlog(self, session: Session, rows: int, users: int, tail: int) -> Rows:
        oldest = sorted(self.unsequenced)[: max(0, len(self.unsequenced) - tail)]
        waiting = {row.user for row in oldest}
        hashes = None if EVERYONE in waiting else [int(user) for user in waiting if user is not None]
        return [(self._snapshot(), max((row.id for row in oldest), default=0), hashes)]

    def do_newcomers(self, session: Session, since: str, upto: int, rows: int, users: int) -> Rows:
        new = self._after(since, upto)
        return [(user, int(user), len(new)) for user in sorted({row.user for row in new if row.user is not None})]

    def _snapshot(self) -> str:
        """As pg_current_snapshot() is written."""
        running = sorted(transaction.xid for transaction in self.running if transaction.xid <= self.completed)
        return f"{[*running, self.completed + 1][0]}:{self.completed + 1}:{','.join(map(str, running))}"

    def _after(self, snapshot: str | None, upto: int | None) -> list[Unsequenced]:
        """The rows that the snapshot does not see, or above that id."""
        _, xmax, running = (snapshot or "0:0:").split(":")
        found = [row for row in self.unsequenced if self._later(row, xmax, running)]
        return found + [row for row in self.unsequenced if upto is not None and row.id > upto and row not in found]

    def _later(self, row: Unsequenced, xmax: str, running: str) -> bool:
        born = self.state.rows[row.id].born
        return born >= int(xmax) or str(born) in running.split(",")

    def do_read_range(self, session: Session, after: int, upto: int, **page: int) -> Rows:
        return self._page(lambda row: True, after, upto)

    def do_replay(self, session: Session, user_id: str, after: int, upto: int | None, **page: object) -> Rows:
        return self._history(lambda row: row.user in (user_id, EVERYONE), after, upto)

    def do_replay_many(
        self, session: Session, user_ids: str, afters: list[int], uptos: list[int | None], **page: object
    ) -> Rows:
        heads: Rows = []
        events: dict[int, tuple[Any, ...]] = {}
        users = [user.strip('"') for user in user_ids.strip("{}").split(",")]
        for number, asked in enumerate(zip(users, afters, uptos, strict=True), 1):
            rows = self.do_replay(session, *asked)
            found = {row[4]: row[4:] for row in rows if row[4] is not None}
            heads.append((number, *rows[0][:4], list(found), None, None, None))
            events |= found
        return heads + [(*[None] * 6, *event) for event in events.values()]

    def do_reread(self, session: Session, user_ids: str, after: int, upto: int | None, **page: object) -> Rows:
        users: set[str | None] = {user.strip('"') for user in user_ids.strip("{}").split(",")}
        return self._history(lambda row: row.user in users | {EVERYONE}, after, upto)

    def do_oldest(self, session: Session) -> Rows:
        return [(seq,) for seq in sorted(row.seq for row in self.state.rows.values() if row.seq is not None)[:1]]

    def _history(self, wanted: Callable[[Row], bool], after: int, upto: int | None) -> Rows:
        end = self.state.last_seq if upto is None else min(upto, self.state.last_seq)
        return [(*row[:2], self._rejoin(after), *row[2:]) for row in self._page(wanted, after, end)]

    def _rejoin(self, after: int) -> int | None:
        """Where the log goes on for a position that it has lost, or never had."""
        start = min((start for start in self.state.terms if start > after), default=None)
        return start if start is not None and self.state.terms[start] < after else None

    def _page(self, wanted: Callable[[Row], bool], after: int, upto: int) -> Rows:
        rows = [row for row in self.state.rows.values() if row.seq is not None and after < row.seq <= upto]
        found = sorted((row for row in rows if wanted(row)), key=_seq)[:PAGE]
        page: Rows = [(row.seq, row.user, row.body) for row in found] or [(None, None, None)]
        return [(self.state.last_seq, self.state.pruned_seq, len(found) >= PAGE, *row) for row in page]
