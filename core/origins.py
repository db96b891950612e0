"""Web origins, as browsers write them in the header Origin (RFC 6454 section 6.2)."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}
_BETWEEN = re.compile(r"[\s,]+")
_HOST = re.compile(r"[a-z0-9._-]+|[0-9a-f:.]+", re.ASCII)


def parse_origins(text: str) -> frozenset[str]:
    """A list with commas or spaces between; raises ValueError with a sentence for what is no origin."""
    return frozenset(_origin(word) for word in _BETWEEN.split(text) if word)


def _origin(word: str) -> str:
    if word == "*":
        raise ValueError("lists origins one by one; * would let every page on the internet act for whoever visits it")
    parts = urlsplit(word)
    port, host = parts.port, parts.hostname or ""  # reading the port raises ValueError
    path = (parts.path.removesuffix("/"), parts.query, parts.fragment)
    if parts.scheme not in _DEFAULT_PORTS or not _HOST.fullmatch(host) or "@" in parts.netloc or any(path):
        raise ValueError("lists origins such as https://app.example.org, without a path")
    if ":" in host:
        host = f"[{host}]"
    return f"{parts.scheme}://{host}" + ("" if port in (None, _DEFAULT_PORTS[parts.scheme]) else f":{port}")
