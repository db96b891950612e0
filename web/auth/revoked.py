"""Which tokens are refused though they have not expired, as far as this process knows (pure)."""

from __future__ import annotations

import heapq
from collections.abc import Iterable

from db.revocations import Revocation
from web.auth.caller import Caller

# Seconds that an entry outlives its tokens: whoever judges whether these have expired may have another clock.
OUTLIVES = 3600.0

TOKEN_REVOKED = "This token was revoked. Get a new one."  # noqa: S105 -- says so
USER_REVOKED = "The tokens of this user were revoked, and this one is not newer than that. Get a new one."


class Revoked:
    """The newest entry for each user and each token."""

    def __init__(self) -> None:
        self._users: dict[str, Revocation] = {}
        self._tokens: dict[str, Revocation] = {}
        # When and what to let go, the soonest first: the list may be long, and one more entry must not cost a walk through it.
        self._ends: list[tuple[float, int, str, dict[str, Revocation]]] = []

    def __len__(self) -> int:
        return len(self._users) + len(self._tokens)

    def refuses(self, caller: Caller) -> str | None:
        """Why this caller's token is no good any more; None if it is.

        A token that does not say when it was issued may be an old one. Most say it in whole seconds, cut off: one of the very second of
        the revocation may be older than that, and is refused.
        """
        if caller.token_id is not None and caller.token_id in self._tokens:
            return TOKEN_REVOKED
        entry = None if caller.user_id is None else self._users.get(caller.user_id)
        if entry is not None and (caller.issued_at is None or caller.issued_at <= entry.revoked_at):
            return USER_REVOKED
        return None

    def learn(self, entries: Iterable[Revocation], now: float) -> int:
        """Take these in, in any order and as often as they come; how many were new.

        Those whose tokens have long expired by `now` (seconds since 1970) are let go.
        """
        new = sum(self._keep(entry) for entry in entries)
        while self._ends and self._ends[0][0] < now - OUTLIVES:
            _, number, name, known = heapq.heappop(self._ends)
            if name in known and known[name].id == number:  # else another has taken its place
                del known[name]
        return new

    def _keep(self, entry: Revocation) -> bool:
        known, name = (self._users, entry.user_id) if entry.token_id is None else (self._tokens, entry.token_id)
        if name is None or (name in known and known[name].id >= entry.id):
            return False
        known[name] = entry
        if entry.expires_at is not None:
            heapq.heappush(self._ends, (entry.expires_at, entry.id, name, known))
        return True
