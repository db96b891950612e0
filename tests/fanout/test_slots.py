"""Who serves which slot, by exact values; that the arithmetic is the cluster's own, a real one says in test_cluster.py."""

from __future__ import annotations

from typing import Any

import pytest

from fanout.buckets import Buckets
from fanout.redis_url import Address
from fanout.slots import read_slots, slot_of

ASKED = Address("asked", 1)
INFO = b"cluster_state:ok\r\ncluster_slots_assigned:16384\r\ncluster_current_epoch:7\r\n"


def node(host: bytes | None, port: int) -> list[Any]:
    return [host, port, b"id", []]


def test_each_slot_has_the_primary_of_its_range() -> None:
    found = read_slots(
        [[100, 200, node(b"b", 2), node(b"replica", 9)], [0, 99, node(b"a", 1)], [300, 300, node(b"c", 3)]],
        INFO,
        ASKED,
    )
    owners = {slot: str(found.owner(slot) or "nobody") for slot in (0, 99, 100, 200, 201, 299, 300, 301, 16383)}
    assert owners == {
        0: "a:1",
        99: "a:1",
        100: "b:2",
        200: "b:2",
        201: "nobody",
        299: "nobody",
        300: "c:3",
        301: "nobody",
        16383: "nobody",
    }
    assert (found.well, found.epoch) == (True, 7)


def test_a_cluster_without_slots_serves_nobody() -> None:
    found = read_slots([], b"cluster_state:fail\r\n", ASKED)
    assert (found.owner(0), found.well, found.epoch) == (None, False, 0)


@pytest.mark.parametrize("name", [b"", None, b"?"])
def test_a_node_without_a_name_is_where_it_was_asked(name: bytes | None) -> None:
    assert read_slots([[0, 9, node(name, 5)]], INFO, ASKED).owner(3) == Address("asked", 5)


def test_all_channels_of_a_bucket_are_in_one_slot() -> None:
    """The reference implementation of CRC16: crc16("123456789") is 0x31C3."""
    names = Buckets(64, "any prefix")
    assert slot_of(b"123456789") == 0x31C3
    for bucket in range(64):
        user = next(str(number) for number in range(10_000) if names.of(str(number)) == bucket)
        channels = (names.marks(bucket), names.everyone(bucket), names.user(user))
        assert {slot_of(channel) for channel in channels} == {slot_of(b"%d.64" % bucket)}
