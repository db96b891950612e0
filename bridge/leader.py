"""Who may stamp: the session that holds one advisory lock. Lock, claim and doorbell's mark are that session's, so that who loses the
one loses the others.

    follower ──pg_try_advisory_lock, once a second──► leader ──session lost──► (new session) follower
                                                        └──told to stop: doorbell busy, unlock──► gone

A follower never waits inside Postgres for the lock (that would hold back vacuum) and does not LISTEN (a frozen one would pin the
NOTIFY queue). A leader that freezes is ended by the server after 10 s without a word; one that began no statement for 10 s, because
it hangs in one or froze in a long one, is ended by a follower, where its role may.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from bridge.batch import BatchSize
from bridge.bell import Bell
from bridge.config import BridgeConfig
from bridge.listener import Listener
from bridge.pruner import Pruner
from bridge.relay import Relay
from bridge.sequencer import Sequencer
from core import fail_points
from core.clock import Clock
from core.fail_points import Point
from db import leadership
from db.connect import Connection
from fanout.buckets import Buckets
from fanout.nodes import Nodes
from fanout.publisher import Publisher

_log = structlog.get_logger("leader")

TRY_EVERY = 1.0
PATIENCE = 10.0
IDLE = 4.0
EMPTY_TIMEOUT = 2.0
OK = "ok"


async def run_follower(session: Connection, clock: Clock, following: Callable[[], None]) -> None:
    """Return once the session holds the leader lock; `following` is called after each time that it doesn't.

    Raises DatabaseUnavailableError when the session is lost.
    """
    if not await leadership.try_lead(session):
        following()
        _log.info("leader.following")
        complained = False
        while not await leadership.try_lead(session):
            following()
            complained = await _end_stuck_leader(session, complained)
            await clock.sleep(TRY_EVERY)
    _log.info("leader.leading")


async def _end_stuck_leader(session: Connection, complained: bool) -> bool:
    """Whether it has been said by now that this role may not."""
    try:
        ended = await leadership.end_stuck_leader(session, patience=PATIENCE, idle=IDLE)
    except leadership.NotAllowedError as error:
        if not complained:
            _log.warning("leader.stuck", reason=str(error))
        return True
    for pid in ended:
        _log.warning("leader.ended", pid=pid, why=f"it began no statement for {PATIENCE:g} s")
    return complained


class Leader:
    """One term: the sequencer on the session with the lock, and what it needs beside it, in one TaskGroup."""

    def __init__(
        self,
        session: Connection,
        config: BridgeConfig,
        buckets: Buckets,
        publishers: Sequence[Publisher],
        clock: Clock,
        *,
        nodes: Nodes,
        batch: BatchSize,
        proved: Callable[[], None],
        given: int = 0,
    ) -> None:
        """`batch`, `proved`, `given`: see Sequencer."""
        self._session = session
        self._bell = Bell()
        self._nodes = nodes
        self._publishers = publishers
        self._relay = Relay(config.database_url, buckets, publishers, clock)
        self._listener = Listener(config.database_url, self._bell, clock)
        self._pruner = Pruner(config.database_url, config.retention, clock) if config.retention else None
        self._sequencer = Sequencer(
            session, self._bell, self._relay, config, clock, batch=batch, proved=proved, given=given
        )

    def ready(self) -> dict[str, str]:
        """What is not as it should be beside the claim session, by part; else "ok"."""
        down = sum(not publisher.publishes for publisher in self._publishers)
        return {
            "listen": OK if self._listener.hears else "no LISTEN session answers: rows wait for the poll",
            "read": OK if self._relay.reads else "no session for reading answers: rows reach streams late",
            "redis": f"{down} of {len(self._publishers)} buckets took no mark in the last 3 s" if down else OK,
        }

    @property
    def given(self) -> int:
        """The last seq that was given, in this term or before it."""
        return self._sequencer.given

    def stop(self) -> None:
        """Finish the batch in hand and leave."""
        self._sequencer.stopping = True
        self._bell.ring()

    async def run(self) -> None:
        """Lead until told to stop; raises DatabaseUnavailableError (in a group) when the session is lost."""
        async with asyncio.TaskGroup() as tasks:
            helpers = [
                tasks.create_task(self._listener.run(), name="listener"),
                tasks.create_task(self._relay.run(), name="relay"),
                tasks.create_task(self._nodes.run(), name="nodes"),
                *(tasks.create_task(publisher.run(), name="publisher") for publisher in self._publishers),
                *([tasks.create_task(self._pruner.run(), name="pruner")] if self._pruner else []),
            ]
            await self._sequencer.run()
            await fail_points.reach(Point.STAMPING_ENDED)
            await self._empty()
            await fail_points.reach(Point.EMPTIED)
            for helper in helpers:
                helper.cancel()
        await leadership.stop_leading(self._session)
        _log.info("leader.left")

    async def _empty(self) -> None:
        """Send what is stamped. What is left after 2 s, every web process finds as a hole."""
        try:
            async with asyncio.timeout(EMPTY_TIMEOUT):
                await self._relay.drain()
                for publisher in self._publishers:
                    await publisher.drain()
        except TimeoutError:
            _log.warning("leader.left_unsent")
