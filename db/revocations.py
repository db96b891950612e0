"""Which tokens are refused though they have not expired: the list that Postgres keeps for all processes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from psycopg_pool import AsyncConnectionPool

from db.connect import Connection, borrow
from db.queries import query

Pool: TypeAlias = AsyncConnectionPool[Connection]

PAGE = 5000
_START = 0  # the position below all others
# Seconds, the wait for the session included: the list is short, and who asks can't wait for long.
READ_TIMEOUT = 3.0
REVOKE_TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class Revocation:
    """One of `user_id` (in the form Postgres prints, then all its tokens issued up to `revoked_at`) and `token_id` is meant.

    Times are seconds since 1970, `revoked_at` by the clock of Postgres. `id` rises in the order of commits. `expires_at`: when these
    tokens have expired by themselves, None if nobody has said.
    """

    id: int
    user_id: str | None
    token_id: str | None
    revoked_at: float
    expires_at: float | None = None


class RevocationList:
    """The list, and how far one reader has read it, over a pool of one session that nobody else makes wait.

    Of one: whatever comes over another session is read from the start, as it may lead to another server. What is added goes over another
    pool, for it may have to wait for a lock.

    Every method raises DatabaseUnavailableError.
    """

    def __init__(self, pool: Pool, revoking: Pool) -> None:
        self._pool = pool
        self._revoking = revoking
        self._position = _START
        self._reader: Connection | None = None

    async def add(
        self, *, user_id: str | None = None, token_id: str | None = None, expires_at: float | None = None
    ) -> Revocation:
        """Revoke a user's tokens or one token, for good once this returns. A second time takes the place of the first."""
        parameters = {"user_id": user_id, "token_id": token_id, "expires_at": expires_at}
        async with borrow(self._revoking, doing="revoking", seconds=REVOKE_TIMEOUT) as session:
            [row] = await (await session.execute(query("revoke"), parameters)).fetchall()
        return Revocation(*row)

    async def news(self) -> list[Revocation]:
        """The next page of what was revoked since the one before, in the order of commits; empty: that was all.

        In a new session all from the start: it may lead to another server, which took over and has lost the last few.
        """
        async with borrow(self._pool, doing="reading revocations", seconds=READ_TIMEOUT) as session:
            if session is not self._reader:
                self._reader, self._position = session, _START
            parameters = {"after": self._position, "page": PAGE}
            # Not prepared: the position says whether it is all or nothing that is read.
            rows = await (await session.execute(query("revocations"), parameters, prepare=False)).fetchall()
        found = [Revocation(*row) for row in rows]
        self._position = found[-1].id if found else self._position
        return found
