"""All that the web is told, checked and frozen by whoever wires it."""

from __future__ import annotations

from dataclasses import dataclass

from core.user_ids import UserIdType


@dataclass(frozen=True, slots=True)
class WebConfig:
    """How the web answers.

    `user_id_type` is the database's; `body_bytes` the longest request body (0: any); `heartbeat` and `retry` are seconds, `retry`
    the base of what streams tell clients; `stream_queue` is how many events may wait for one reader.
    """

    user_id_type: UserIdType = UserIdType.BIGINT
    body_bytes: int = 2 << 20
    heartbeat: float = 15.0
    retry: float = 3.0
    stream_queue: int = 1000
