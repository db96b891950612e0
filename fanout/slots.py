"""What a node of a cluster says of who serves which slot: a pure function of its answer."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from fanout.redis_url import Address


@dataclass(frozen=True, slots=True)
class Slots:
    """Who serves which slot, in the opinion of one node: is the cluster well, as far as it sees, and how far has history got for it?"""

    starts: tuple[int, ...]
    ranges: tuple[tuple[int, int, Address], ...]
    well: bool
    epoch: int

    def owner(self, slot: int) -> Address | None:
        """Where the primary of this slot is; None if nobody serves it."""
        at = bisect_right(self.starts, slot) - 1
        if at < 0:
            return None
        _, end, address = self.ranges[at]
        return address if slot <= end else None


def served_by(address: Address, epoch: int) -> Slots:
    """One server has it all."""
    return Slots((0,), ((0, REDIS_CLUSTER_HASH_SLOTS - 1, address),), True, epoch)


def slot_of(channel: bytes) -> int:
    """The slot of a channel: of the hash tag in its name."""
    return key_slot(channel)


def read_slots(slots: Sequence[Any], info: bytes, asked: Address) -> Slots:
    """From the answers of CLUSTER SLOTS and CLUSTER INFO by the node at `asked`, which may not know its own name."""
    ranges = sorted((start, end, _address(nodes[0], asked)) for start, end, *nodes in slots)
    facts = dict(line.split(":", 1) for line in info.decode().split("\r\n") if ":" in line)
    return Slots(
        tuple(start for start, _, _ in ranges),
        tuple(ranges),
        facts.get("cluster_state") == "ok",
        int(facts.get("cluster_current_epoch", 0)),
    )


def _address(node: Sequence[Any], asked: Address) -> Address:
    host, port = node[0], node[1]
    # "" and nil: the address that it was asked at; "?": a node without the name that it should have.
    named = host.decode() if host else ""
    return Address(asked.host if named in ("", "?") else named, port)
