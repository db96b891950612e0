"""Whose request it is: the address that connected, or the one that a proxy we trust names (pure).

A list of addresses in a header grows at its right end: there each proxy writes who spoke to it, and everything further left is what that
one said. So it is read from the right, past our own proxies, and what a client wrote itself is never reached.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

UNIX = "unix"  # a peer on a Unix socket has no address

_IP: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

# RFC 7239 section 4: pairs of a name and a token or quoted string. No comma and no semicolon within quotes: no address has one.
_PAIR = re.compile(r'\s*(?P<name>[A-Za-z]+)=(?:"(?P<quoted>[^"\\,;]*)"|(?P<token>[^\s",;=]+))\s*', re.ASCII)
# RFC 7239 section 6, and what proxies write into X-Forwarded-For: IPv6 without brackets, too.
_NODE = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<v4>[0-9.]+))(?::[0-9]{1,5})?|(?P<bare>[0-9A-Fa-f:.]+)", re.ASCII)
_SCHEMES = frozenset({"http", "https"})
# A proxy adds one element; nobody has this many of them.
_MOST_ELEMENTS = 100


@dataclass(frozen=True, slots=True)
class Client:
    """Who asks: an IP address, or `unix`; and by http or https."""

    address: str
    scheme: str


@dataclass(frozen=True, slots=True)
class TrustedProxies:
    """The proxies that are believed."""

    networks: tuple[_Network, ...] = ()
    unix: bool = False

    @classmethod
    def parse(cls, text: str) -> TrustedProxies:
        """From addresses, networks and `unix`, with commas or spaces between; raises ValueError."""
        words = text.replace(",", " ").split()
        try:
            networks = tuple(ipaddress.ip_network(word) for word in words if word != UNIX)
        except ValueError as error:
            raise ValueError(
                f"must list addresses or networks, as in 10.0.0.1 10.1.0.0/16 ::1, or unix for a Unix socket ({error})"
            ) from error
        return cls(networks, UNIX in words)

    def trust(self, address: str) -> bool:
        """Is that one of them?"""
        if address == UNIX:
            return self.unix
        if not self.networks or (parsed := _parsed(address)) is None:
            return False
        return any(parsed in network for network in self.networks)


NOBODY_TRUSTED = TrustedProxies()


def asking(peer: str | None, scheme: str, headers: Iterable[tuple[bytes, bytes]], trusted: TrustedProxies) -> Client:
    """Who asks: `peer` (None: a Unix socket) by `scheme`, unless it is a trusted proxy that names another.

    `Forwarded` and `X-Forwarded-For` that name different clients are both disbelieved: a proxy writes one and passes on what the
    client wrote into the other. So is what is no address; then it is the last proxy that is known.
    """
    address = canonical(peer)
    if not trusted.trust(address):
        return Client(address, scheme)
    values = _values(headers)
    believed = [
        _first_untrusted(address, list(reversed(found)), trusted)
        for found in (_forwarded(values), _x_forwarded(values))
        if found
    ]
    if not believed:
        return Client(address, _x_scheme(values) or scheme)
    if len({client for client, _ in believed}) > 1:
        return Client(address, scheme)
    told = next((proto for _, proto in believed if proto), None)
    return Client(believed[0][0], told or _x_scheme(values) or scheme)


@lru_cache(maxsize=4096)
def canonical(peer: str | None) -> str:
    """One spelling of an address: lower case, compressed, without zone, and IPv4 as IPv4 when it came through an IPv6 socket."""
    if not peer:
        return UNIX
    parsed = _parsed(peer)
    return peer if parsed is None else str(parsed)


@lru_cache(maxsize=4096)
def counted_as(address: str) -> str:
    """What shares a cap: an IPv4 address, or the /64 of an IPv6 one, which is the least that anybody is given."""
    parsed = _parsed(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((int(parsed) >> 64 << 64, 64)))
    return address


_Element: TypeAlias = tuple[str | None, str | None]  # an address and a scheme, as far as there is one


def _first_untrusted(peer: str, elements: list[_Element], trusted: TrustedProxies) -> tuple[str, str | None]:
    """Walk away from us; the scheme is what the proxy that names the client says."""
    address, scheme = peer, None
    for named, proto in elements[:_MOST_ELEMENTS]:
        if named is None:
            return address, scheme
        address, scheme = named, proto
        if not trusted.trust(named):
            break
    return address, scheme


def _values(headers: Iterable[tuple[bytes, bytes]]) -> dict[bytes, str]:
    """The headers of a proxy, several of one name as one list (RFC 9110 section 5.3)."""
    values: dict[bytes, str] = {}
    for name, value in headers:
        lowered = name.lower()
        if lowered in (b"forwarded", b"x-forwarded-for", b"x-forwarded-proto"):
            text = value.decode("latin-1")
            values[lowered] = f"{values[lowered]},{text}" if lowered in values else text
    return values


def _forwarded(values: dict[bytes, str]) -> list[_Element]:
    text = values.get(b"forwarded", "")
    return [_element(part) for part in text.split(",")] if text else []


def _element(text: str) -> _Element:
    pairs = [_PAIR.fullmatch(part) for part in text.split(";")]
    told: dict[str, str] = {}
    for pair in pairs:
        if pair is None or pair["name"].lower() in told:
            return None, None
        told[pair["name"].lower()] = pair["quoted"] if pair["token"] is None else pair["token"]
    return _node(told.get("for", "")), _scheme(told.get("proto", ""))


def _x_forwarded(values: dict[bytes, str]) -> list[_Element]:
    text = values.get(b"x-forwarded-for", "")
    return [(_node(part.strip()), None) for part in text.split(",")] if text else []


def _x_scheme(values: dict[bytes, str]) -> str | None:
    return _scheme(values.get(b"x-forwarded-proto", "").rpartition(",")[2].strip())


def _scheme(text: str) -> str | None:
    return text.lower() if text.lower() in _SCHEMES else None


def _node(text: str) -> str | None:
    """The address in it; None for what hides it (`unknown`, `_name`) and for what is none."""
    found = _NODE.fullmatch(text)
    parsed = _parsed(found["v6"] or found["v4"] or found["bare"]) if found else None
    return None if parsed is None else str(parsed)


def _parsed(text: str) -> _IP | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
