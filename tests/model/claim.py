"""What one claim stamps, as a function of what it sees: db/queries/claim.sql in a dozen lines, compared with it by a test.

Each switch of `Rules` leaves out one rule of stamping, so that the walks can show what it is for.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import NamedTuple

EVERYONE = None


class Row(NamedTuple):
    """An unsequenced row; user None: everyone."""

    id: int
    user: str | None


@dataclass(frozen=True)
class Rules:
    """All on: what claim.sql does."""

    hold_users: bool = True  # a locked row holds back later rows of its user …
    hold_everyone: bool = True  # … and later rows for everyone
    barrier: bool = True  # a row for everyone that is locked or held back holds back all later rows
    leave_out_users: bool = True  # who was held back stays out of the next claims until the poll
    leave_out_everyone: bool = (
        True  # and so does every row for everyone above the lowest row left out, and all after it
    )


@dataclass(frozen=True)
class Claimed:
    """The rows to be stamped, in order; whether the batch was full; what the next claim is to leave out."""

    rows: tuple[Row, ...]
    full: bool
    users: frozenset[str]
    lowest: int | None


ALL_RULES = Rules()


def claim(
    unsequenced: Iterable[Row],
    locked: Collection[int],
    users: frozenset[str],
    lowest: int | None,
    *,
    batch: int,
    rules: Rules = ALL_RULES,
) -> Claimed:
    """`locked`: ids that another transaction has locked or changed; `users`, `lowest`: what the claims before this one had to leave out."""
    seen = sorted(row for row in unsequenced if not (rules.leave_out_users and row.user in users))[:batch]
    end = _first(row.id for row in seen if row.user is EVERYONE and lowest is not None and row.id > lowest)
    candidates = [row for row in seen if not rules.leave_out_everyone or end is None or row.id < end]
    skipped = [row for row in candidates if row.id in locked]
    first_skipped = _first(row.id for row in skipped)
    stop = _barrier(candidates, first_skipped, rules) if rules.barrier else None
    taken = []
    held: set[str | None] = set()
    for row in candidates:
        if row.id in locked:
            held.add(row.user)
            continue
        if stop is not None and row.id >= stop:
            break
        behind = rules.hold_users and row.user is not EVERYONE and row.user in held
        if rules.hold_everyone and row.user is EVERYONE and held:
            behind = True
        if not behind:
            taken.append(row)
    lowests = [id_ for id_ in (lowest, first_skipped) if id_ is not None]
    left = frozenset(row.user for row in skipped if row.user is not EVERYONE)
    return Claimed(tuple(taken), len(seen) >= batch, users | left, min(lowests, default=None))


def _barrier(candidates: list[Row], first_skipped: int | None, rules: Rules) -> int | None:
    if first_skipped is None:
        return None
    blocked = (row for row in candidates if row.user is EVERYONE and row.id >= first_skipped)
    return _first(row.id for row in blocked if rules.hold_everyone or row.id == first_skipped)


def _first(ids: Iterable[int]) -> int | None:
    return min(ids, default=None)
