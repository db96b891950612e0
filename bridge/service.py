"""The bridge as a whole: follow, lead, follow again, until told to stop."""

from __future__ import annotations

import asyncio
from enum import StrEnum

import structlog

from bridge.batch import BatchSize
from bridge.config import BridgeConfig
from bridge.leader import OK, Leader, run_follower
from core.clock import Clock, happens
from core.supervise import Attempt, first_cause, supervise
from db.connect import session
from db.preflight import inspect
from fanout.buckets import Buckets
from fanout.connection import RedisConfig
from fanout.nodes import Nodes
from fanout.publisher import Publisher

_log = structlog.get_logger("bridge")

# Of the 5 s that a stop may take.
STOP_TIMEOUT = 4.0


class Role(StrEnum):
    """What this bridge is doing."""

    CONNECTING = "connecting"
    FOLLOWER = "follower"
    LEADER = "leader"


class Bridge:
    """One bridge process's work; `run` returns after `stop`."""

    def __init__(self, config: BridgeConfig, redis: RedisConfig, prefix: str, clock: Clock) -> None:
        self._config = config
        self._redis = redis
        self._prefix = prefix
        self._clock = clock
        self._stopping = asyncio.Event()
        self._left = asyncio.Event()
        self._leader: Leader | None = None
        self._given = 0  # the last seq of our terms, which the log may have lost by the next
        self._attempt: Attempt | None = None
        self._batch = BatchSize(config.batch)
        self._trouble = ""  # what ended the last session
        self.role = Role.CONNECTING

    def stop(self) -> None:
        """Finish the batch in hand, give up the lock, end `run`."""
        self._stopping.set()
        if self._leader is not None:
            self._leader.stop()

    def ready(self) -> dict[str, str]:
        """What is not as it should be, by part; all "ok" if this bridge leads, with all it needs for that at hand, or stands by."""
        if self._stopping.is_set():
            return {"bridge": "it was told to stop"}
        answers = self._attempt is not None and self._attempt.lives
        checks = {"postgres": OK if answers else f"no session for claiming answers. {self._trouble}".rstrip()}
        return checks | (self._leader.ready() if self._leader else {})

    async def run(self) -> None:
        """Follow and lead; returns after `stop`, within 5 s."""
        async with asyncio.TaskGroup() as tasks:
            work = tasks.create_task(
                supervise("postgres leader", self._follow_then_lead, clock=self._clock), name="leader"
            )
            await self._stopping.wait()
            if self._leader is not None:
                await self._wait_until_left()
            work.cancel()
        _log.info("bridge.stopped")

    async def _wait_until_left(self) -> None:
        if not await happens(self._left, STOP_TIMEOUT):
            _log.warning("bridge.stop_timeout", hint="the lock goes with the session; another bridge takes over")

    async def _follow_then_lead(self, attempt: Attempt) -> None:
        self._attempt = attempt
        try:
            async with session(self._config.database_url, name="rowcast-claim") as connection:
                facts = await inspect(connection, part="bridge")
                self.role = Role.FOLLOWER
                await run_follower(connection, self._clock, following=attempt.succeeded)
                buckets = Buckets(facts.buckets, self._prefix)
                nodes = Nodes(self._redis, buckets, self._clock)
                publishers = [Publisher(nodes, buckets, n, self._clock) for n in range(buckets.count)]
                self._leader = Leader(
                    connection,
                    self._config,
                    buckets,
                    publishers,
                    self._clock,
                    nodes=nodes,
                    batch=self._batch,
                    proved=attempt.succeeded,
                    given=self._given,
                )
                if self._stopping.is_set():
                    self._leader.stop()
                self.role = Role.LEADER
                await self._leader.run()
        except Exception as error:
            self._trouble = str(first_cause(error))
            raise
        finally:
            self.role = Role.CONNECTING
            if self._leader is not None:
                self._given = self._leader.given
            self._leader = None
            if self._stopping.is_set():
                self._left.set()
