"""A bucket that runs over a real log, for the tests of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from core.events import Range
from fanout.messages import Message
from tests.clocks import HandClock
from tests.db.databases import Databases
from tests.waiting import running, until
from tests.web.log import Log, open_log
from web.bucket import Bucket
from web.mailbox import Mailbox


@dataclass
class Scene:
    """A bucket that runs, over a log."""

    log: Log
    bucket: Bucket
    clock: HandClock

    def stream(self, user_id: int, *, live: bool = True, limit: int = 10_000) -> Mailbox:
        mailbox = Mailbox(str(user_id), limit)
        mailbox.live = live
        self.bucket.add(mailbox)
        return mailbox

    def busy_stream(self, user_id: int) -> tuple[Mailbox, asyncio.Future[bool]]:
        """One that had an event a moment ago, and its wait for the next."""
        mailbox = self.stream(user_id)
        mailbox.took = self.clock.now()
        return mailbox, mailbox.woken()

    def hears(self, *items: Message | Range) -> None:
        for item in items:
            self.bucket.arrived(item, 100)

    async def at_rest(self) -> None:
        """Everything that arrived is handled, nothing is left to re-read."""
        await until(lambda: self.bucket.joined_up and not self.bucket._inbox)

    async def joined(self) -> None:
        self.bucket.joined()
        await self.at_rest()


@asynccontextmanager
async def scene(databases: Databases, clock: HandClock) -> AsyncIterator[Scene]:
    with databases.migrated() as url:
        async with open_log(url) as (log, history):
            bucket = Bucket(0, history, clock)
            async with running(bucket.run()):
                yield Scene(log, bucket, clock)


def waiting(mailbox: Mailbox, last: int = 0) -> list[int]:
    return [delivery.seq for delivery in mailbox.take_above(last)]


def seqs(*batches: list[Message]) -> list[int]:
    return [message.event.seq for batch in batches for message in batch]
