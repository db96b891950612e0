"""Names of channels are a contract between processes: the exact bytes."""

from __future__ import annotations

import re
from urllib.parse import unquote
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout.buckets import Buckets


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (Buckets().user("7"), b"rowcast:{0.1}:user:7"),
        (Buckets().user("-7"), b"rowcast:{0.1}:user:-7"),
        (Buckets().everyone(0), b"rowcast:{0.1}:all"),
        (Buckets().marks(0), b"rowcast:{0.1}:mark"),
        (Buckets(64, "app").everyone(63), b"app:{63.64}:all"),
        (Buckets(64).user("1"), b"rowcast:{55.64}:user:1"),
        (Buckets().user("a b/ü%{}:"), b"rowcast:{0.1}:user:a%20b%2F%C3%BC%25%7B%7D%3A"),
    ],
)
def test_the_exact_names(name: bytes, expected: bytes) -> None:
    assert name == expected


def test_the_bucket_is_the_crc_32_of_the_ids_utf_8_text() -> None:
    """CRC-32 as in zlib: that of "123456789" is 0xCBF43926 in every catalogue of CRCs."""
    assert Buckets(2**32).of("123456789") == 0xCBF43926
    assert Buckets(64).of("é") == crc32(b"\xc3\xa9") % 64


@given(st.text(min_size=1), st.integers(1, 16384))
def test_all_of_a_users_channels_have_one_hash_tag_and_no_two_users_share_one(user_id: str, count: int) -> None:
    names = Buckets(count)
    bucket = names.of(user_id)
    channel = names.user(user_id)
    assert 0 <= bucket < count
    # Redis hashes what is between the first { and the first } after it.
    tags = {re.findall(rb"\{([^}]*)\}", name)[0] for name in (channel, names.everyone(bucket), names.marks(bucket))}
    assert tags == {f"{bucket}.{count}".encode()}
    assert unquote(channel.decode().split(":user:", 1)[1]) == user_id
