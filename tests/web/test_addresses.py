"""Whose request it is: no client can write itself another address, whatever proxies there are."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from web.addresses import NOBODY_TRUSTED, Client, TrustedProxies, asking, counted_as

PROXIES = TrustedProxies.parse("10.0.0.0/8, fd00::1 unix")
Headers = list[tuple[bytes, bytes]]

addresses = st.ip_addresses().filter(lambda ip: not PROXIES.trust(str(ip))).map(str)
lies = st.one_of(
    st.text(st.characters(codec="latin-1"), max_size=60),
    addresses,
    addresses.map(lambda ip: f"for={ip}"),
    addresses.map(lambda ip: f'for="[{ip}]:1";proto=https, for="'),
    st.just("10.0.0.1"),
    st.just("for=10.0.0.1, for=10.0.0.2"),
)
names = st.sampled_from([b"forwarded", b"x-forwarded-for", b"X-Forwarded-For", b"x-forwarded-proto", b"Forwarded"])
headers = st.lists(st.tuples(names, lies.map(lambda text: text.encode("latin-1"))), max_size=4)


def said(*values: str, name: bytes = b"x-forwarded-for") -> Headers:
    return [(name, value.encode()) for value in values]


def forwarded(*values: str) -> Headers:
    return said(*values, name=b"forwarded")


@given(addresses, headers)
def test_who_is_no_trusted_proxy_is_itself_whatever_it_sends(peer: str, lie: Headers) -> None:
    assert asking(peer, "http", lie, PROXIES) == asking(peer, "http", [], NOBODY_TRUSTED)
    assert asking("10.0.0.1", "http", lie, NOBODY_TRUSTED) == Client("10.0.0.1", "http")


@given(addresses, st.lists(lies, max_size=3), st.booleans())
def test_behind_a_proxy_that_adds_to_x_forwarded_for(peer: str, lie: list[str], one_line: bool) -> None:
    values = [", ".join([*lie, peer])] if one_line else [*lie, peer]
    headers = [(b"x-forwarded-for", value.encode("latin-1")) for value in values]
    assert asking("10.0.0.1", "http", headers, PROXIES).address == asking(peer, "http", [], PROXIES).address


@given(addresses, st.lists(lies, max_size=3), st.booleans())
def test_behind_a_proxy_that_adds_to_forwarded(peer: str, lie: list[str], one_line: bool) -> None:
    node = f'"[{peer}]"' if ":" in peer else peer
    values = [", ".join([*lie, f"for={node};proto=https"])] if one_line else [*lie, f"for={node};proto=https"]
    headers = [(b"forwarded", value.encode("latin-1")) for value in values]
    expected = asking(peer, "https", [], PROXIES)
    assert asking("10.0.0.1", "http", headers, PROXIES) == expected


@given(addresses, headers)
def test_a_header_that_the_proxy_passes_on_can_only_make_the_client_the_proxy(peer: str, lie: Headers) -> None:
    """A proxy that writes one of the two headers, and passes on the other: believed are both or none."""
    others = [(name, value) for name, value in lie if name.lower() != b"x-forwarded-for"]
    found = asking("10.0.0.1", "http", [*others, *said(peer)], PROXIES)
    assert found.address in {asking(peer, "http", [], PROXIES).address, "10.0.0.1"}


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (said("192.0.2.1"), "192.0.2.1"),
        (said("192.0.2.1:4711"), "192.0.2.1"),
        (said("2001:DB8::1"), "2001:db8::1"),
        (said("[2001:db8::1]:4711"), "2001:db8::1"),
        (said("::ffff:192.0.2.1"), "192.0.2.1"),
        (said("6.6.6.6, 192.0.2.1, 10.1.1.1"), "192.0.2.1"),
        (said("6.6.6.6", "192.0.2.1", "fd00::1"), "192.0.2.1"),
        (said("10.0.0.7, 10.0.0.8"), "10.0.0.7"),  # one of our own asks
        (said("192.0.2.1, unknown"), "10.0.0.1"),
        (said("192.0.2.1, unknown, 10.0.0.9"), "10.0.0.9"),
        (said("192.0.2.1, 192.0.2.300"), "10.0.0.1"),
        (said("192.0.2.1, "), "10.0.0.1"),
        (said("192.0.2.1:99999999"), "10.0.0.1"),
        (said(""), "10.0.0.1"),
        (forwarded("for=192.0.2.1"), "192.0.2.1"),
        (forwarded('For="[2001:db8::1]:4711" ; Proto=https;by=203.0.113.43'), "2001:db8::1"),
        (forwarded("for=6.6.6.6, for=192.0.2.1", "for=10.0.0.2"), "192.0.2.1"),
        (forwarded("for=192.0.2.1;for=6.6.6.6"), "10.0.0.1"),
        (forwarded("for=_hidden"), "10.0.0.1"),
        (forwarded("for=unknown"), "10.0.0.1"),
        (forwarded("proto=https"), "10.0.0.1"),
        (forwarded('for="192.0.2.1'), "10.0.0.1"),
        (forwarded("for=192.0.2.1 for=6.6.6.6"), "10.0.0.1"),
        ([*forwarded("for=6.6.6.6"), *said("192.0.2.1")], "10.0.0.1"),
        ([*forwarded("for=192.0.2.1"), *said("192.0.2.1")], "192.0.2.1"),
        ([], "10.0.0.1"),
    ],
)
def test_what_a_trusted_proxy_says(headers: Headers, expected: str) -> None:
    assert asking("10.0.0.1", "http", headers, PROXIES).address == expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], "http"),
        (said("https", name=b"x-forwarded-proto"), "https"),
        (said("http, https", name=b"x-forwarded-proto"), "https"),
        (said("javascript", name=b"x-forwarded-proto"), "http"),
        (forwarded("for=192.0.2.1;proto=https"), "https"),
        (forwarded("for=192.0.2.1;proto=https, for=10.0.0.2;proto=http"), "https"),
        ([*said("192.0.2.1"), *said("https", name=b"x-forwarded-proto")], "https"),
    ],
)
def test_the_scheme_is_what_the_trusted_proxy_was_asked_by(headers: Headers, expected: str) -> None:
    assert asking("10.0.0.1", "http", headers, PROXIES).scheme == expected
    assert asking("192.0.2.9", "http", headers, PROXIES).scheme == "http"


def test_a_unix_socket_is_a_proxy_only_if_that_is_said() -> None:
    assert asking(None, "http", said("192.0.2.1"), PROXIES).address == "192.0.2.1"
    assert asking(None, "http", said("192.0.2.1"), TrustedProxies.parse("127.0.0.1")).address == "unix"


def test_a_list_with_anything_else_is_refused_with_a_sentence() -> None:
    with pytest.raises(ValueError, match=r"must list addresses or networks.*example\.org"):
        TrustedProxies.parse("127.0.0.1, example.org")


@given(st.integers(1 << 80, (1 << 128) - 1).map(ipaddress.IPv6Address))
def test_an_ipv6_address_shares_its_caps_with_its_network_of_64_bits(ip: ipaddress.IPv6Address) -> None:
    assert ip in ipaddress.ip_network(counted_as(str(ip)))
    assert counted_as(str(ip)) == counted_as(str(ipaddress.IPv6Address(int(ip) ^ 0xFFFF_FFFF)))
    assert counted_as(str(ip)) != counted_as(str(ipaddress.IPv6Address(int(ip) ^ 1 << 64)))


def test_ipv4_addresses_share_nothing() -> None:
    assert counted_as("192.0.2.1") != counted_as("192.0.2.2")
