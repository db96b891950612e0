"""I1 to I5 and I9: what was delivered against what was committed. Pure functions of the evidence; each returns what is wrong.

Where Postgres lost the end of what it had committed (an asynchronous standby was promoted), and only there: a row may have been delivered
that is gone; a row whose stamp was lost comes again under another seq; a client beyond the end is told so by a reset.
"""

from __future__ import annotations

from tests.chaos.evidence import Evidence, Violation, shortened
from tests.chaos.records import Client, Got, Row

Violations = list[Violation]


def no_loss(evidence: Evidence) -> Violations:
    """I1: every row in the table was stamped, and reached every client it was due to since that client began."""
    unstamped = [row.key for row in evidence.rows if row.seq is None]
    found = [Violation("I1 no loss", f"never stamped: {shortened(unstamped)}")] if unstamped else []
    for client in evidence.clients:
        got = {event.key for event in client.events("message")}
        lost = [f"{row.key} (seq {row.seq})" for row in _owed(evidence, client) if row.key not in got]
        if lost:
            found.append(Violation("I1 no loss", f"{client.name} of user {client.user} lacks {shortened(lost)}"))
    return found


def _owed(evidence: Evidence, client: Client) -> list[Row]:
    """The rows the client must have been given: since its start, and above what a reset told it to load anew."""
    seen = [one for one in client.story if isinstance(one, Got)]
    hello = next((event.seq for event in seen if event.kind == "hello"), None)
    told = max((event.seq for event in seen if event.kind == "reset"), default=0)
    if hello is None:
        return []  # it never got through; the liveness check has its say
    start, unread = {"all": (0, 0), "now": (seen[0].seq, seen[0].seq)}.get(client.since, (hello, 0))
    return [
        row
        for row in evidence.due(client)
        if row.seq is not None and row.seq > told and (row.seq > start or (row.seq > unread and not row.viewed))
    ]


def no_duplicate(evidence: Evidence) -> Violations:
    """I2: no row twice, and seq rises strictly; only a reset may take a client back."""
    found = []
    for client in evidence.clients:
        wrong, last = [], -1
        given: dict[str, Got] = {}
        for event in (one for one in client.story if isinstance(one, Got)):
            rises = event.seq > last if event.kind == "message" else event.seq >= last
            if not rises and event.kind != "reset":
                wrong.append(f"{event.kind} {event.key} seq {event.seq} after {last}")
            last = event.seq
            before = given.get(event.key) if event.key else None
            if before and not (event.seq != before.seq and evidence.may_be_forgotten(event.key)):
                wrong.append(f"{event.key} twice: seq {before.seq} and {event.seq}")
            given[event.key] = event
        if wrong:
            found.append(Violation("I2 no duplicate", f"{client.name} of user {client.user}: {shortened(wrong)}"))
    return found


def commit_order(evidence: Evidence) -> Violations:
    """I3: what was committed before an INSERT was sent comes before its row, on every stream."""
    found = []
    for client in evidence.clients:
        first = dict.fromkeys(event.key for event in client.events("message"))
        known = [evidence.insert_of[key] for key in first if key in evidence.insert_of]
        wrong = []
        earliest, by = float("inf"), ""
        for statement in reversed(known):
            if earliest < statement.began:
                wrong.append(f"{statement.rows[0][0]} came before {by}, which was committed before it was inserted")
            if statement.outcome == "committed" and statement.ended < earliest:
                earliest, by = statement.ended, statement.rows[0][0]
        if wrong:
            found.append(Violation("I3 order", f"{client.name} of user {client.user}: {shortened(wrong)}"))
    return found


def one_order(evidence: Evidence) -> Violations:
    """I3: a row has the same place in the log for every client, the one that the table says."""
    found = []
    for client in evidence.clients:
        wrong = [
            f"{event.key} came with seq {event.seq}, the table says {row.seq}"
            for event in client.events("message")
            if (row := evidence.table.get(event.key))
            and row.seq != event.seq
            and not evidence.may_be_forgotten(event.key)
        ]
        if wrong:
            found.append(Violation("I3 order", f"{client.name} of user {client.user}: {shortened(wrong)}"))
    return found


def isolation(evidence: Evidence) -> Violations:
    """I4: nobody is given a row of another user, nor any byte of a canary's secret."""
    found = []
    for client in evidence.clients:
        strange = [event.key for event in client.events("message") if event.user not in (None, client.user)]
        leaks = [turn.detail for turn in client.turns("leaked")]
        if strange or leaks:
            found.append(
                Violation("I4 isolation", f"{client.name} of user {client.user} got {shortened([*strange, *leaks])}")
            )
    return found


def no_phantom(evidence: Evidence) -> Violations:
    """I5: nothing that was not committed; and what came says what the table says."""
    found = []
    for client in evidence.clients:
        wrong = []
        for event in client.events("message"):
            row = evidence.table.get(event.key)
            if row is None and not (evidence.may_be_forgotten(event.key) and _was_committed(evidence, event.key)):
                wrong.append(f"{event.key} (seq {event.seq}) is not in the table")
            elif row is not None and row.content != event.content:
                wrong.append(f"{event.key} (seq {event.seq}) says something else than the table")
        if wrong:
            found.append(Violation("I5 no phantom", f"{client.name} of user {client.user}: {shortened(wrong)}"))
    return found


def _was_committed(evidence: Evidence, key: str) -> bool:
    statement = evidence.insert_of[key]
    known = key in evidence.commits or statement.outcome == "committed"
    return known or evidence.may_have_been_committed_and_lost(statement)


def log_is_true(evidence: Evidence) -> Violations:
    """The ground of all other checks: table, writers and the order of commits (a logical slot's) agree with each other."""
    found = []
    kept = [key for key in evidence.insert_of if key in evidence.table]
    for statement in evidence.statements:
        keys = [key for key, _ in statement.rows]
        present = [key for key in keys if key in evidence.table]
        missing = [key for key in keys if key not in evidence.table and not evidence.may_be_forgotten(key)]
        if statement.outcome == "rolled back" and present:
            found.append(Violation("ground", f"rolled back, and in the table: {shortened(present)}"))
        if statement.outcome == "committed" and missing:
            found.append(Violation("ground", f"committed, and not in the table: {shortened(missing)}"))
    if evidence.whole_order:
        unseen = [key for key in kept if key not in evidence.commits and not evidence.may_be_forgotten(key)]
        if unseen:
            found.append(Violation("ground", f"in the table, and not in the order of commits: {shortened(unseen)}"))
    strange = [key for key in evidence.table if key not in evidence.insert_of]
    if strange:
        found.append(Violation("ground", f"in the table, and no writer knows of it: {shortened(strange)}"))
    return found + _commits_out_of_order(evidence)


def _commits_out_of_order(evidence: Evidence) -> Violations:
    """The slot's order of commits against the writers' clocks, which can't both be right if they disagree."""
    known = [
        evidence.insert_of[key]
        for key in sorted(evidence.commits, key=evidence.commits.__getitem__)
        if key in evidence.insert_of
    ]
    earliest = float("inf")
    for statement in reversed(known):
        if earliest < statement.began:
            return [Violation("ground", f"the slot has {statement.rows[0][0]} too early: the rig is wrong")]
        if statement.outcome == "committed":
            earliest = min(earliest, statement.ended)
    return []


def honest_gap(evidence: Evidence) -> Violations:
    """I9: a reset only where history was really lost."""
    found = []
    for client in evidence.clients:
        early = [
            f"{event.reason} at {event.seq}"
            for event in client.events("reset")
            if not any(window.forgets and window.start <= event.at for window in evidence.windows)
        ]
        if early:
            found.append(Violation("I9 honest gap", f"{client.name} was reset without need: {shortened(early)}"))
    return found


DELIVERY = (
    log_is_true,
    no_loss,
    no_duplicate,
    commit_order,
    one_order,
    isolation,
    no_phantom,
    honest_gap,
)
