"""The kinds of transactions that writers do, each with its weight. Each tells its writer what it sends and how it ended."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Sequence
from typing import LiteralString, TypeAlias

from psycopg import errors

from tests.chaos import texts
from tests.chaos.records import now
from tests.chaos.writer import INSERT, Attempt, Row, Session, Writer

Kind: TypeAlias = Callable[[Writer], Awaitable[None]]

_BULK: LiteralString = "INSERT INTO notifications (user_id, key, message) SELECT u, k, 'bulk' FROM unnest(%s::bigint[], %s::text[]) AS r (u, k)"
_WITH_ID: LiteralString = "INSERT INTO notifications (id, user_id, key, message) VALUES (%s, %s, %s, 'mine')"
_OR_UPDATE: LiteralString = (
    "INSERT INTO notifications (id, user_id, key, message) VALUES (%s, %s, %s, 'not mine') "
    "ON CONFLICT (id) DO UPDATE SET is_viewed = true RETURNING seq IS NULL"
)
_MERGE: LiteralString = (
    "MERGE INTO notifications AS n USING (VALUES (%s::bigint, %s::text)) AS r (u, k) ON n.id = -1 "
    "WHEN NOT MATCHED THEN INSERT (user_id, key, message) VALUES (r.u, r.k, 'merged')"
)
_VIEW: LiteralString = "UPDATE notifications SET is_viewed = true WHERE key = %s"
_VIEW_SOME: LiteralString = (
    "UPDATE notifications SET is_viewed = true WHERE id IN "
    "(SELECT id FROM notifications WHERE user_id = %s AND NOT is_viewed ORDER BY id DESC LIMIT 5 FOR NO KEY UPDATE SKIP LOCKED)"
)
_COPY: LiteralString = "COPY notifications (user_id, key, message, data) FROM STDIN"
_COMMIT = b"Q" + struct.pack("!i", 11) + b"COMMIT\0"


async def _insert(
    w: Writer, attempt: Attempt, row: Row, text: str | None = None, session: Session | None = None
) -> None:
    attempt.sends([row])
    await (session or w.session).execute(INSERT, w.values(row, text))


async def _commit(w: Writer, attempt: Attempt) -> None:
    attempt.committing = True
    await w.session.execute("COMMIT")
    w.ended(attempt, "committed")


async def _alone(w: Writer, kind: str, row: Row, text: str | None = None) -> None:
    attempt = w.attempt(kind)
    attempt.committing = True
    began = now()
    await _insert(w, attempt, row, text)
    w.ended(attempt, "committed")
    if kind == "alone":
        w.took(began)


async def alone(w: Writer) -> None:
    """One row, one transaction."""
    await _alone(w, "alone", w.row())


async def canary(w: Writer) -> None:
    """A secret for the canary."""
    await _alone(w, "canary", w.row(w.canary))


async def long_body(w: Writer) -> None:
    """Up to 1 MB."""
    await _alone(w, "long body", w.row(w.rng.choice(w.users)), texts.long(w.rng))


async def several(w: Writer) -> None:
    """Several statements for many users, in whatever order: two of these meet in opposite ones."""
    attempt = w.attempt("several")
    await w.session.execute("BEGIN")
    for row in w.rows(w.rng.randint(2, 8)):
        await _insert(w, attempt, row)
        if w.rng.random() < 0.2:
            await w.pause(w.rng.uniform(0, 0.05))
    await _commit(w, attempt)


async def rolled_back(w: Writer) -> None:
    attempt = w.attempt("rolled back")
    await w.session.execute("BEGIN")
    for row in w.rows(w.rng.randint(1, 4)):
        await _insert(w, attempt, row)
    await w.pause(w.rng.choice([0, 0, 0.05, 0.5]))
    await w.session.execute("ROLLBACK")
    w.ended(attempt, "rolled back")


async def savepoint(w: Writer) -> None:
    """What was inserted after a savepoint is rolled back, what came before and after it is committed."""
    attempt, undone = w.attempt("savepoint"), w.attempt("savepoint undone")
    await w.session.execute("BEGIN")
    await _insert(w, attempt, w.row())
    await w.session.execute("SAVEPOINT one")
    await _insert(w, undone, w.row())
    await w.session.execute("ROLLBACK TO SAVEPOINT one")
    w.ended(undone, "rolled back")
    await _insert(w, attempt, w.row())
    await _commit(w, attempt)


async def held_open(w: Writer) -> None:
    """Inserted now, committed seconds later: its id is older than what all others committed meanwhile."""
    attempt = w.attempt("held open")
    await w.session.execute("BEGIN")
    for row in w.rows(2):
        await _insert(w, attempt, row)
    await w.pause(w.rng.choice([0.2, 1, 3, 10]))
    await _insert(w, attempt, w.row())
    await _commit(w, attempt)


async def old_transaction(w: Writer) -> None:
    """An old transaction id, idle for seconds, that inserts and commits last."""
    attempt = w.attempt("old transaction")
    await w.session.execute("BEGIN")
    await w.session.execute("SELECT pg_current_xact_id()")
    await w.pause(w.rng.choice([0.2, 2, 8]))
    await _insert(w, attempt, w.row())
    await _commit(w, attempt)


async def copied(w: Writer) -> None:
    """COPY, many users, one transaction."""
    attempt = w.attempt("copy")
    rows = w.rows(w.rng.choice([20, 200, 1000]))
    attempt.sends(rows)
    attempt.committing = True
    async with w.session.cursor() as cursor, cursor.copy(_COPY) as copy:
        for row in rows:
            await copy.write_row(w.values(row, "copied"))
    w.ended(attempt, "committed")


async def selected(w: Writer) -> None:
    """INSERT … SELECT, many users, one statement."""
    await _bulk(w, "insert select", w.rows(w.rng.choice([20, 200, 1500])))


async def _bulk(w: Writer, kind: str, rows: Sequence[Row]) -> None:
    attempt = w.attempt(kind)
    attempt.sends(rows)
    attempt.committing = True
    await w.session.execute(_BULK, ([user for _, user in rows], [key for key, _ in rows]))
    w.ended(attempt, "committed")


async def merged(w: Writer) -> None:
    attempt = w.attempt("merge")
    row = w.row(w.rng.choice(w.users))
    attempt.sends([row])
    attempt.committing = True
    await w.session.execute(_MERGE, (row[1], row[0]))
    w.ended(attempt, "committed")


async def as_replica(w: Writer) -> None:
    """A session in which no ordinary trigger fires."""
    await w.session.execute("SET session_replication_role = replica")
    try:
        await _alone(w, "as a replica", w.row())
    finally:
        if not w.session.broken:
            await w.session.execute("RESET session_replication_role")


async def locked(w: Writer) -> None:
    """Another session waits for the row's commit, gets its lock often before the bridge can, and keeps it."""
    attempt = w.attempt("locked")
    row = w.row()
    other = await w.connect()
    try:
        attempt.sends([row])  # from here on: a row whose id the client chose has its place by that id
        found = await (await w.session.execute("SELECT nextval('notifications_id_seq')")).fetchone()
        assert found is not None
        await w.session.execute("BEGIN")
        await w.session.execute(_WITH_ID, (found[0], row[1], row[0]))
        await other.execute("BEGIN")
        waiting = asyncio.ensure_future(other.execute(_OR_UPDATE, (found[0], row[1], row[0])))
        await w.pause(0.05)
        since = now()
        try:
            await _commit(w, attempt)
            won = await (await waiting).fetchone()
            await w.pause(w.rng.choice([0.1, 0.1, 0.5, 2]))
            await other.execute("COMMIT")
        finally:
            await other.close()
            await asyncio.gather(waiting, return_exceptions=True)
        if won and won[0]:
            w.held(since)
    finally:
        await other.close()


async def repeatable_read(w: Writer) -> None:
    """Insert, then update the row just inserted in a snapshot: it may fail with 40001, as documented, and is tried again."""
    row = w.row(w.rng.choice(w.users))
    await _alone(w, "repeatable read", row)
    for _ in range(5):
        await w.session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        try:
            await w.session.execute("SELECT 1 FROM notifications LIMIT 1")
            await w.pause(w.rng.choice([0, 0.01]))
            await w.session.execute(_VIEW, (row[0],))
            await w.session.execute("COMMIT")
        except errors.SerializationFailure:
            await w.session.execute("ROLLBACK")
        else:
            return


async def viewed(w: Writer) -> None:
    """What the inbox does all day."""
    await w.session.execute(_VIEW_SOME, (w.rng.choice(w.users),))


async def timed_out(w: Writer) -> None:
    """A statement_timeout ends the transaction."""
    attempt = w.attempt("timed out")
    await w.session.execute("BEGIN; SET LOCAL statement_timeout = '200ms'")
    try:
        await _insert(w, attempt, w.row())
        await w.session.execute("SELECT pg_sleep(5)")
    except errors.QueryCanceled:
        await w.session.execute("ROLLBACK")
        w.ended(attempt, "rolled back")


async def killed(w: Writer) -> None:
    """The client dies with its COMMIT said, half said, or on its way: who knows."""
    attempt = w.attempt("killed")
    await w.session.execute("BEGIN")
    for row in w.rows(2):
        await _insert(w, attempt, row)
    with socket.socket(fileno=os.dup(w.session.pgconn.socket)) as line:
        said = w.rng.choice([3, len(_COMMIT), len(_COMMIT)])
        line.send(_COMMIT[:said])
        await w.pause(w.rng.choice([0, 0, 0.001, 0.01]))
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await w.session.close()
    w.ended(attempt, "unknown")


KINDS: dict[str, tuple[float, Kind]] = {
    "alone": (60, alone),
    "several": (8, several),
    "rolled back": (4, rolled_back),
    "savepoint": (4, savepoint),
    "viewed": (4, viewed),
    "killed": (3, killed),
    "repeatable read": (3, repeatable_read),
    "merge": (2, merged),
    "as a replica": (2, as_replica),
    "canary": (2, canary),
    "held open": (1, held_open),
    "old transaction": (1, old_transaction),
    "locked": (0.3, locked),
    "copy": (0.25, copied),
    "insert select": (0.25, selected),
    "long body": (0.3, long_body),
    "timed out": (0.5, timed_out),
}
