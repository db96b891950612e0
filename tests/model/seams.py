"""Where the modelled machine is put under the real code, and the sizes that make a corner near."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import ExitStack, contextmanager
from typing import Any

import structlog

import bridge.relay
import bridge.service
import bridge.stamper
import db.backlog
import db.connect
import db.history
import fanout.connection
import fanout.publisher
import web.bucket
import web.gathering
import web.mailbox
import web.stream
from db.connect import Connection
from db.preflight import DatabaseFacts, Part
from fanout.connection import RedisConfig
from tests.model.driver import Driver
from tests.model.parts import FACTS
from tests.model.redis import RawConnection

# Everything that has a limit meets it after a few rows, and what takes ten seconds or more takes some.
SIZES: dict[tuple[Any, str], float] = {
    (bridge.relay, "QUEUE_RANGES"): 3,
    (bridge.relay, "PIECE_BYTES"): 200,
    (bridge.relay, "LARGEST_MESSAGE"): 400,
    # Or else a look at all rows would find what other claims forgot.
    (bridge.stamper, "LONG"): 1,
    (bridge.stamper, "MOST_OFTEN"): 1000.0,
    (bridge.stamper, "MOST_SELDOM"): 1000.0,
    (db.backlog, "TAIL_ROWS"): 2,
    (db.connect, "STATEMENT_TIMEOUT"): 3.0,
    (fanout.publisher, "QUEUE_BYTES"): 5000,
    (web.bucket, "INBOX_ITEMS"): 5,
    (web.bucket, "TURN_EVENTS"): 2,
    (web.bucket, "FORGET_AFTER"): 6.0,
    (web.bucket, "PATIENCE"): 0.2,
    (web.gathering, "FLOOD_ITEMS"): 2,
    (web.mailbox, "LIMIT_BYTES"): 1200,
    (web.stream, "HEARTBEATS_PER_POSITION"): 1,
    (web.stream, "LAG_TIMEOUT"): 3.0,
}


@contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Another value of an attribute, until the end of the block."""
    own = name in vars(owner)
    before = vars(owner).get(name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if own:
            setattr(owner, name, before)
        else:
            delattr(owner, name)


async def _inspect(connection: Connection, *, part: Part | None = None) -> DatabaseFacts:
    return FACTS


@contextmanager
def counted_logs(counts: Counter[str]) -> Iterator[None]:
    """Log events are counted, not printed."""

    def count(_: object, __: str, event: MutableMapping[str, Any]) -> Any:
        counts[event["event"]] += 1
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(processors=[count])
    try:
        yield
    finally:
        structlog.configure(**before)


@contextmanager
def modelled(
    driver: Driver, raw: Callable[[str], RawConnection], counts: Counter[str], *, reread_every: float
) -> Iterator[None]:
    """The real code reaches the modelled Postgres and Redis, until the end of the block.

    `reread_every`: seconds after which a bucket without marks re-reads; a long time, lest it hide what was missed.
    """

    def raw_connection(config: RedisConfig, name: str) -> RawConnection:
        return raw(name)

    with ExitStack() as stack:
        stack.enter_context(counted_logs(counts))
        stack.enter_context(replaced(db.connect.Session, "connect", driver.connect))
        stack.enter_context(replaced(fanout.connection, "_raw_connection", raw_connection))
        stack.enter_context(replaced(bridge.service, "inspect", _inspect))
        stack.enter_context(replaced(web.bucket, "REREAD_EVERY", reread_every))
        for (module, name), value in SIZES.items():
            stack.enter_context(replaced(module, name, value))
        yield
