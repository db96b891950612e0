"""How long the answer with the keys is good for, as its headers say (RFC 9111, RFC 5861), within bounds (pure)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

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
    """By `Cache-Control` max-age, and stale-if-error beyond it, or else by `Expires`.

    An answer that names no time, or one that is over at once, says nothing about keys: frameworks send such by themselves. So does that it
    is not to be stored.
    """
    directives = dict(_DIRECTIVE.findall(headers.get("cache-control", "").lower()))
    lifetime = int(directives.get("max-age") or 0) if "max-age" in directives else _until_expiry(headers)
    if lifetime <= 0:
        return Freshness()
    left = max(lifetime - _age(headers), 1)
    trusted = min(left + int(directives.get("stale-if-error") or 0), LONGEST)
    return Freshness(min(left * _EARLY, REFRESH), trusted)


def _until_expiry(headers: Mapping[str, str]) -> int:
    """`Expires` by the clock of the answer's own `Date` (RFC 9111 section 4.2.1); 0 where that can't be told."""
    try:
        expires, date = (parsedate_to_datetime(headers[name]) for name in ("expires", "date"))
        return int((expires - date).total_seconds())
    except (KeyError, ValueError, TypeError, OverflowError):
        return 0


def _age(headers: Mapping[str, str]) -> int:
    """Seconds that the answer has spent in caches already."""
    text = headers.get("age", "")
    return int(text) if re.fullmatch("[0-9]{1,10}", text, re.ASCII) else 0
