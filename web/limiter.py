"""How many requests a second somebody may make."""

from __future__ import annotations

from throttled.rate_limiter import RateLimiterRegistry, per_sec
from throttled.store import MemoryStore

# Counts, two for each address that asked within the last seconds: some 20 MiB at most. Those not used for longest are forgotten.
MOST_COUNTS = 1 << 16


class Limiter:
    """At most `per_second` requests of each in any second, 0 for any number; refused ones don't count.

    A sliding window: the last second's requests count for the part of it that is less than a second ago.
    """

    def __init__(self, per_second: int) -> None:
        self._limiter = per_second and RateLimiterRegistry.get("sliding_window")(
            per_sec(per_second), MemoryStore(options={"MAX_SIZE": MOST_COUNTS})
        )

    def admits(self, who: str) -> bool:
        """One more request of theirs: may it be answered?"""
        return not self._limiter or not self._limiter.limit(who).limited
