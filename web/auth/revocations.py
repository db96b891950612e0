"""Keeps this process's knowledge of revoked tokens current, and ends the streams they opened.

Postgres has the list. It is read whole before any token is believed, then what is new: as soon as another process says in Redis that there is
something, and every half second whether one does or not. So Redis may lose what it likes, and what it says is not believed.

While Postgres can't be asked, what is known holds. A process that was frozen sees that its last look was long ago, and looks again before it
believes a token.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog

from core.clock import Clock, happens
from core.errors import DatabaseUnavailableError, RedisUnavailableError
from db.revocations import Revocation
from web.auth.caller import Caller, KeysUnavailableError, TokenRefusedError, Verifier
from web.auth.revoked import Revoked

_log = structlog.get_logger("revocations")

# Seconds. A look at the list at least so often, whatever Redis says …
LOOK_EVERY = 0.5
# … and at most so often, whoever rings.
PAUSE = 0.05
# No token is believed after a look that was begun longer ago …
FRESH = 1.0
# … unless none could be had in this time.
PATIENCE = 1.0
# After a look that was begun longer ago this process is not fit to serve: elsewhere tokens may have been revoked.
STALE = 3.0

EndStreams = Callable[[Callable[[Caller], bool], str], int]


class Listed(Protocol):
    """The list that all processes share: see db.revocations.RevocationList."""

    async def add(self, *, user_id: str | None, token_id: str | None, expires_at: float | None) -> Revocation:
        """Revoke one of both."""

    async def news(self) -> list[Revocation]:
        """What is new, page by page; empty: that was all."""


class RevocationsUnknownError(KeysUnavailableError):
    """Postgres has not said yet which tokens were revoked. This one may be right; try again later."""


class Revocations:
    """`run` as long as anybody is served."""

    def __init__(
        self,
        listed: Listed,
        revoked: Revoked,
        clock: Clock,
        *,
        end_streams: EndStreams,
        ring: Callable[[], Awaitable[None]],
    ) -> None:
        """`end_streams` is the hub's; `ring` wakes the other processes, and may raise RedisUnavailableError."""
        self._listed = listed
        self._revoked = revoked
        self._end_streams = end_streams
        self._ring = ring
        self._clock = clock
        self._looked_at = -math.inf  # when the last look that succeeded was begun
        self._failing_since = math.inf
        self._woken = asyncio.Event()
        self._added = asyncio.Event()
        self._looked = asyncio.Event()  # set, and replaced, at the end of each look

    async def run(self) -> None:
        """Look again and again, and tell the others; returns only by cancellation."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._look(), name="revocations")
            tasks.create_task(self._tell(), name="revocations to tell of")

    def wake(self) -> None:
        """There may be something new."""
        self._woken.set()

    async def revoke(
        self, *, user_id: str | None = None, token_id: str | None = None, expires_at: float | None = None
    ) -> Revocation:
        """Revoke all that a user's tokens up to now allow, or one token: for good, and here already, once this returns.

        Raises DatabaseUnavailableError.
        """
        added = await self._listed.add(user_id=user_id, token_id=token_id, expires_at=expires_at)
        self._learn([added])
        # A task of ours tells the others: the request may be cancelled, and Redis take its time.
        self._added.set()
        return added

    async def refuses(self, caller: Caller) -> str | None:
        """Why this caller's token is no good any more; None if it is good. By a list that was read in the last second, if it can be.

        Raises RevocationsUnknownError as long as it never was.
        """
        if not self._fresh:
            await self._wait_for_look()
        if not self._loaded:
            raise RevocationsUnknownError
        return self._revoked.refuses(caller)

    def ready(self) -> dict[str, str | None]:
        """What keeps this process from being fit to serve, by part; None for nothing."""
        wrong = None
        if not self._loaded:
            wrong = "Which tokens were revoked has not been read from Postgres yet."
        elif (age := self._clock.now() - self._looked_at) > STALE:
            wrong = f"Which tokens were revoked was last read from Postgres {age:.0f} s ago."
        return {"revocations": wrong}

    @property
    def _loaded(self) -> bool:
        return self._looked_at > -math.inf

    @property
    def _fresh(self) -> bool:
        """Or nothing newer is to be had: Postgres has not answered for longer than anybody would wait for it."""
        now = self._clock.now()
        return now - self._looked_at <= FRESH or now - self._failing_since >= PATIENCE

    async def _wait_for_look(self) -> None:
        self.wake()
        try:
            async with asyncio.timeout(PATIENCE):
                while not self._fresh:
                    await self._looked.wait()
        except TimeoutError:
            pass

    async def _look(self) -> None:
        while True:
            self._woken.clear()
            await self._look_once()
            await self._clock.sleep(PAUSE)
            await happens(self._woken, LOOK_EVERY)

    async def _look_once(self) -> None:
        begun = self._clock.now()
        try:
            while found := await self._listed.news():
                self._learn(found)
        except DatabaseUnavailableError as error:
            self._note_failure(error)
        else:
            self._note_success(begun)
        self._looked.set()
        self._looked = asyncio.Event()

    def _learn(self, entries: list[Revocation]) -> None:
        if not (new := self._revoked.learn(entries, self._clock.time())):
            return
        ended = self._end_streams(lambda caller: self._revoked.refuses(caller) is not None, "its token was revoked")
        _log.info("revocations.learnt", entries=new, known=len(self._revoked), streams_ended=ended)

    def _note_failure(self, error: DatabaseUnavailableError) -> None:
        if self._failing_since == math.inf:
            _log.warning("revocations.unread", reason=str(error), hint="what was revoked before is still refused")
            self._failing_since = self._clock.now()

    def _note_success(self, begun: float) -> None:
        if self._failing_since < math.inf:
            _log.info("revocations.read_again")
        self._failing_since = math.inf
        self._looked_at = begun

    async def _tell(self) -> None:
        while True:
            await self._added.wait()
            self._added.clear()
            try:
                await self._ring()
            except RedisUnavailableError as error:
                _log.info("revocations.not_told", reason=str(error), hint="the others find it within half a second")


class RevocableVerifier:
    """A Verifier that refuses what was revoked, too."""

    def __init__(self, verifier: Verifier, revocations: Revocations) -> None:
        self._verifier = verifier
        self._revocations = revocations

    async def verify(self, token: str) -> Caller:
        """See web.auth.caller.Verifier."""
        caller = await self._verifier.verify(token)
        if reason := await self._revocations.refuses(caller):
            raise TokenRefusedError(reason)
        return caller
