"""How long the answer with the keys is good for, as its headers say (RFC 9111, RFC 5861), within bounds (pure)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

# Seconds. However long an answer may be kept, a key that was withdrawn is gone after this, while the keys can be fetched ...
REFRESH = 300.0
# ... and after this in any case.
LONGEST = 3600.0
# The part of its time after which an answer is fetched anew.
_EARLY = 0.8
_DIRECTIVE = re.compile(r'([a-z-]+)(?:="?([0-9]{1,10})"?)?')


@dataclass(frozen=True, slots=True)
class Freshness:
    """Seconds from the fetch: after `refresh` it is done again, after `trusted` the keys count no more."""

    refresh: float = REFRESH
    trusted: float = LONGEST


def freshness(headers: Mapping[str, str]) -> Freshness:
    """By `Cache-Control`: max-age, and stale-if-error beyond it. An answer that names no time, or 0, says nothing about keys."""
    directives = dict(_DIRECTIVE.findall(headers.get("cache-control", "").lower()))
    lifetime = int(directives.get("max-age") or 0)
    if not lifetime or "no-cache" in directives or "no-store" in directives:
        return Freshness()
    left = max(lifetime - _age(headers), 1)
    trusted = min(left + int(directives.get("stale-if-error") or 0), LONGEST)
    return Freshness(min(left * _EARLY, REFRESH), trusted)


def _age(headers: Mapping[str, str]) -> int:
    """Seconds that the answer has spent in caches already."""
    text = headers.get("age", "")
    return int(text) if re.fullmatch("[0-9]{1,10}", text, re.ASCII) else 0
