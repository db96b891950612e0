"""Users hashed into buckets. A bucket is the unit of order, of marks and of failure.

Channels are `<prefix>:{b.n}:…` for bucket b of n. The braces are a hash tag that keeps a bucket on one Redis node; n is part of the
name, so that two processes that count differently do not talk past each other in silence.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote
from zlib import crc32

_NUMBER = re.compile(rb":\{(\d{1,5})\.")


@dataclass(frozen=True, slots=True)
class Buckets:
    """How many buckets there are (kept in Postgres, so that bridge and web agree) and the prefix of their channels."""

    count: int = 1
    prefix: str = "rowcast"

    def of(self, user_id: str) -> int:
        """The bucket of a user: CRC-32 of the id's UTF-8 text, modulo the number of buckets."""
        return crc32(user_id.encode()) % self.count

    def user(self, user_id: str) -> bytes:
        """The channel of one user's rows; `user_id` in the form Postgres prints."""
        return self._channel(self.of(user_id), f"user:{quote(user_id, safe='')}")

    def everyone(self, bucket: int) -> bytes:
        """The channel of a bucket's rows for everyone."""
        return self._channel(bucket, "all")

    def marks(self, bucket: int) -> bytes:
        """The channel of a bucket's marks."""
        return self._channel(bucket, "mark")

    @property
    def revocations(self) -> bytes:
        """The channel that wakes every web process when a token was revoked, and says no more."""
        return self._channel(0, "revocations")

    def number(self, channel: bytes) -> int:
        """The bucket of a channel; -1 for one that is none of ours."""
        found = _NUMBER.match(channel, len(self.prefix.encode()))
        return -1 if found is None else int(found[1])

    def _channel(self, bucket: int, name: str) -> bytes:
        return f"{self.prefix}:{{{bucket}.{self.count}}}:{name}".encode()
