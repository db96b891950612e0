"""Claiming: rows of users and everyone, inserted by transactions that commit in any order, locked by others, stamped in claims.

What one claim stamps is `tests/model/claim.py`, which a test compares with the real statement. A claim takes its snapshot first, and
locks and stamps in a second step; in between transactions commit, and rows are locked, changed and let go.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from tests.machine.rules import ALL, Rules
from tests.model import claim as model

NEW, OPEN, COMMITTED, GONE, STAMPED = range(5)


class Row(NamedTuple):
    """`after`: the rows (by their number) that were committed before its INSERT began."""

    id: int = 0
    at: int = NEW
    after: tuple[int, ...] = ()


class Table(NamedTuple):
    """`seen`: rows in the snapshot of the claim that runs; `held`, `lowest`: what claims since the last poll left out."""

    rows: tuple[Row, ...]
    next_id: int = 1
    locked: tuple[int, ...] = ()
    changed: tuple[int, ...] = ()  # since the snapshot of the claim that runs
    seen: tuple[int, ...] | None = None
    held: frozenset[str] = frozenset()
    lowest: int | None = None
    cursor: int = 0
    faults: int = 0
    wrong: str = ""


@dataclass(frozen=True)
class Stamping:
    """`transactions`: the users of the rows that each inserts, in order (`e`: everyone); claims stamp `batch` rows at most."""

    transactions: tuple[str, ...]
    batch: int
    locks: int
    rules: Rules = ALL

    def start(self) -> Table:
        return Table((Row(),) * sum(map(len, self.transactions)), faults=self.locks)

    def wrong(self, table: Table) -> str | None:
        return table.wrong or None

    def owed(self, table: Table) -> str | None:
        """Whatever no lock holds back is to be stamped, though no lock is let go."""
        waiting = sorted((row.id, number) for number, row in enumerate(table.rows) if row.at == COMMITTED)
        held: set[str] = set()
        for _, number in waiting:
            user = self._users()[number]
            if number in table.locked or user in held or "e" in held or (user == "e" and held):
                held.add(user)
            else:
                return f"row {number} of {user} is not stamped"
        return None

    def steps(self, table: Table) -> Iterator[tuple[str, Table]]:
        yield from self._write(table)
        yield from self._lock(table)
        if table.seen is None:
            committed = tuple(number for number, row in enumerate(table.rows) if row.at == COMMITTED)
            if committed:
                yield "a claim: its snapshot", table._replace(seen=committed, changed=())
            if table.held or table.lowest is not None:
                yield "the poll is due", table._replace(held=frozenset(), lowest=None)
        else:
            yield self._stamp(table, table.seen)

    def _users(self) -> str:
        return "".join(self.transactions)

    def _write(self, table: Table) -> Iterator[tuple[str, Table]]:
        first = 0
        for number, users in enumerate(self.transactions):
            mine = range(first, first + len(users))
            first += len(users)
            rows = [table.rows[row] for row in mine]
            done = sum(row.at != NEW for row in rows)
            if done < len(users):
                after = tuple(n for n, row in enumerate(table.rows) if row.at in (COMMITTED, STAMPED))
                inserted = Row(table.next_id, OPEN, after)
                yield f"!{number} inserts for {users[done]}", _put(table, {mine[done]: inserted}, table.next_id + 1)
            if done and rows[0].at == OPEN:
                yield f"{number} commits", _put(table, {n: table.rows[n]._replace(at=COMMITTED) for n in mine[:done]})
                yield f"{number} rolls back", _put(table, {n: Row(at=GONE) for n in mine})

    def _lock(self, table: Table) -> Iterator[tuple[str, Table]]:
        for number, row in enumerate(table.rows):
            if number in table.locked:
                left = tuple(n for n in table.locked if n != number)
                changed = (
                    tuple(sorted({*table.changed, number})) if table.seen and number in table.seen else table.changed
                )
                yield f"!row {number} is changed and let go", table._replace(locked=left, changed=changed)
            elif row.at == COMMITTED and table.faults:
                locked = tuple(sorted((*table.locked, number)))
                yield f"!row {number} is locked", table._replace(locked=locked, faults=table.faults - 1)

    def _stamp(self, table: Table, seen: tuple[int, ...]) -> tuple[str, Table]:
        rules, users = self.rules, self._users()
        by_id = {table.rows[n].id: n for n in seen if rules.cursor_is_seq or table.rows[n].id > table.cursor}
        locked = {*table.locked, *table.changed}
        claimed = model.claim(
            [model.Row(id_, None if users[n] == "e" else users[n]) for id_, n in by_id.items()],
            {table.rows[n].id for n in locked},
            table.held,
            table.lowest,
            batch=self.batch,
            rules=model.Rules(
                hold_users=rules.hold_user,
                hold_everyone=rules.hold_everyone,
                barrier=rules.hold_behind_everyone,
                leave_out_users=rules.held_rows_leave_room,
                leave_out_everyone=rules.hold_in_next_claims,
            ),
        )
        stamped = [by_id[row.id] for row in claimed.rows]
        after = table._replace(seen=None, changed=(), held=claimed.users, lowest=claimed.lowest)
        if not rules.cursor_is_seq:
            after = after._replace(cursor=max([table.cursor, *(row.id for row in claimed.rows)]))
        for number in stamped:
            after = self._stamped(after, number)
        return f"it stamps {stamped}", after

    def _stamped(self, table: Table, number: int) -> Table:
        """Rows that were committed before this one began, and that some stream is to get as well, come first."""
        row, users = table.rows[number], self._users()
        for before in row.after:
            common = "e" in (users[before], users[number]) or users[before] == users[number]
            if common and table.rows[before].at == COMMITTED:
                return table._replace(wrong=f"row {number} overtook row {before}")
        return _put(table, {number: row._replace(at=STAMPED, after=())})


def _put(table: Table, rows: dict[int, Row], next_id: int | None = None) -> Table:
    changed = tuple(rows.get(number, row) for number, row in enumerate(table.rows))
    return table._replace(rows=changed, next_id=next_id or table.next_id)
