"""What ROWCAST_REDIS_URL may say, by exact values."""

from __future__ import annotations

import pytest
from redis.asyncio.connection import SSLConnection, UnixDomainSocketConnection

from core.errors import ConfigurationError
from fanout.redis_url import Address, Target, read_url


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("redis://h", Target({}, (Address("h", 6379),))),
        ("redis://", Target({}, (Address("localhost", 6379),))),
        ("redis://:p%40w@h:1/0", Target({"password": "p@w", "db": 0}, (Address("h", 1),))),
        ("redis://u:p@h1:1,h2,[::1]:3/0", Target({"username": "u", "password": "p", "db": 0}, (
            Address("h1", 1), Address("h2", 6379), Address("::1", 3)))),
        ("rediss://h1:1", Target({"connection_class": SSLConnection}, (Address("h1", 1),))),
        ("unix:///run/x?db=0", Target({"path": "/run/x", "db": 0, "connection_class": UnixDomainSocketConnection}, ())),
        ("redis+sentinel://:p@s1:1,s2/mymaster", Target({"password": "p"}, (Address("s1", 1), Address("s2", 26379)), "mymaster", {})),
        ("redis+sentinel://u:p@s1/my%20one/2?sentinel_password=q&sentinel_username=v", Target(
            {"username": "u", "password": "p", "db": 2}, (Address("s1", 26379),), "my one", {"username": "v", "password": "q"})),
        ("rediss+sentinel://s/m?ssl_ca_certs=/ca", Target(
            {"connection_class": SSLConnection, "ssl_ca_certs": "/ca"}, (Address("s", 26379),), "m",
            {"connection_class": SSLConnection, "ssl_ca_certs": "/ca"})),
    ],
)  # fmt: skip
def test_what_is_read(url: str, target: Target) -> None:
    assert read_url(url) == target


@pytest.mark.parametrize(
    "url",
    ["", "h:6379", "http://h", "redis://h:port", "redis://h1:1,h2:port", "redis+sentinel://s1", "redis+sentinel://s1/"],
)
def test_what_is_no_redis_url_is_a_matter_of_settings(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"ROWCAST_REDIS_URL.*redis://host:6379/0"):
        read_url(url)


def test_an_address_is_written_as_in_a_url() -> None:
    assert [str(Address("h", 1)), str(Address("::1", 2))] == ["h:1", "[::1]:2"]
