"""How long a row takes to a stream, measured beside a fault that is not to touch it."""

from __future__ import annotations

import statistics
import time

from tests.event_source import EventSource
from tests.rig import Rig


async def delivery(own: Rig, stream: EventSource, user: int, *, rows: int = 10, within: float = 10.0) -> float:
    """Seconds from before the INSERT to the event, the median of so many rows one after the other; raises when one isn't there in time."""
    took = []
    async with own.sql() as sql:
        for number in range(rows):
            message = f"probe {number} at {time.monotonic_ns()}"
            began = time.monotonic()
            await sql.execute("INSERT INTO notifications (user_id, message) VALUES (%s, %s)", (user, message))
            await stream.until(lambda message=message: _last(stream) == message, timeout=within)  # type: ignore[misc]
            took.append(time.monotonic() - began)
    return statistics.median(took)


def _last(stream: EventSource) -> str | None:
    return stream.events[-1].json.get("message") if stream.events else None
