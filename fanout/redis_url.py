"""What ROWCAST_REDIS_URL may say, read once: a pure function of its text.

    redis://user:password@host:6379/0                  one server, or a node of a cluster
    redis://:password@h1:6379,h2:6379                  a cluster, by any of its nodes
    redis+sentinel://:password@s1:26379,s2/mymaster    whatever server these Sentinels call the primary
    rediss://…, rediss+sentinel://…                    the same by TLS
    unix:///path                                       one server on this machine

User, password and options hold for every node; Sentinels have their own, `?sentinel_username=…&sentinel_password=…`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from redis.asyncio.connection import parse_url

from core.errors import ConfigurationError

PORT = 6379
SENTINEL_PORT = 26379
_SENTINEL = "+sentinel"


@dataclass(frozen=True, slots=True)
class Address:
    """Where one server listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Target:
    """What a URL says. `options` are redis-py's, but for the address; `primary` is the name that Sentinels know it by, None without them."""

    options: Mapping[str, Any]
    addresses: tuple[Address, ...]
    primary: str | None = None
    sentinel_options: Mapping[str, Any] | None = None


def read_url(url: str) -> Target:
    """Raises ConfigurationError for what is no URL of Redis."""
    try:
        return _read(urlsplit(url))
    except (ValueError, TypeError) as error:
        raise ConfigurationError(
            f"ROWCAST_REDIS_URL is not a Redis URL ({error}); write redis://host:6379/0."
        ) from error


def _read(parts: SplitResult) -> Target:
    if parts.scheme.endswith(_SENTINEL):
        return _read_sentinel(parts)
    options, addresses = _options_and_addresses(parts, PORT)
    return Target(options, () if parts.scheme == "unix" else addresses)


def _read_sentinel(parts: SplitResult) -> Target:
    name, _, db = parts.path.strip("/").partition("/")
    if not name:
        raise ValueError("after the Sentinels' addresses comes the name of the primary, as in /mymaster")
    plain = parts._replace(scheme=parts.scheme.removesuffix(_SENTINEL), path=f"/{db}" if db else "")
    options, addresses = _options_and_addresses(plain, SENTINEL_PORT)
    login = {key: options.pop(f"sentinel_{key}", None) for key in ("username", "password")}
    shared = {key: value for key, value in options.items() if key not in ("username", "password", "db")}
    return Target(options, addresses, unquote(name), shared | {key: value for key, value in login.items() if value})


def _options_and_addresses(parts: SplitResult, port: int) -> tuple[dict[str, Any], tuple[Address, ...]]:
    login, at, places = parts.netloc.rpartition("@")
    options: dict[str, Any] = {}
    addresses = []
    for place in places.split(","):
        options = {**parse_url(urlunsplit(parts._replace(netloc=login + at + place)))}
        addresses.append(Address(options.pop("host", "localhost"), options.pop("port", port)))
    return options, tuple(addresses)
