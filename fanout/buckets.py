"""Users hashed into buckets. A bucket is the unit of order, of marks and of failure.

Channels are `<prefix>:{b.n}:…` for bucket b of n. The braces are a hash tag that keeps a bucket on one Redis node; n is part of the
name, so that two processes that count differently do not talk past each other in silence.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote
from zlib import crc32


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

    def _channel(self, bucket: int, name: str) -> bytes:
        return f"{self.prefix}:{{{bucket}.{self.count}}}:{name}".encode()
