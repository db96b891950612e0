"""All that the web is told, checked and frozen by whoever wires it."""

from __future__ import annotations

from dataclasses import dataclass

from core.user_ids import UserIdType
from web.addresses import NOBODY_TRUSTED, TrustedProxies


@dataclass(frozen=True, slots=True)
class Caps:
    """What one user, one address and one request may have of this process; 0: any number.

    Of streams that are open, of requests in a second, of rows that one connection is sent of what it missed, and of seconds with Postgres.
    """

    streams_per_user: int = 0
    streams_per_address: int = 0
    requests_per_address: int = 0
    replay_rows: int = 0
    query_timeout: float = 10.0


@dataclass(frozen=True, slots=True)
class WebConfig:
    """How the web answers.

    `user_id_type` is the database's; `body_bytes` the longest request body (0: any); `heartbeat` and `retry` are seconds, `retry`
    the base of what streams tell clients; `stream_queue` is how many events may wait for one reader. `cors_origins` are the origins,
    as browsers write them, whose pages may call us. `known_hosts_only`: with auth off, answer to no name that anybody could have
    pointed at this machine. `token_leeway` (seconds) is how long past its `exp` a token is taken. `trusted_proxies` are believed when
    they say whom they speak for.
    """

    user_id_type: UserIdType = UserIdType.BIGINT
    body_bytes: int = 2 << 20
    heartbeat: float = 15.0
    retry: float = 3.0
    stream_queue: int = 1000
    cors_origins: frozenset[str] = frozenset()
    known_hosts_only: bool = True
    token_leeway: float = 5.0
    caps: Caps = Caps()
    trusted_proxies: TrustedProxies = NOBODY_TRUSTED
