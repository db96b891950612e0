"""Which pages a browser may send from: ours, and those on the allow-list (pure).

A browser adds a cookie, and on one's own machine its mere place there, to what any page makes it send. What it says of that page
(Sec-Fetch-Site, Origin) no page can change.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from web.auth.headers import Asked

_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
_OURS = frozenset({"same-origin", "none"})  # none: the address bar, a bookmark


def foreign(asked: Asked, allowed: frozenset[str]) -> str | None:
    """Why this request may not use what its browser adds by itself; None if it may. No browser sent it: it may.

    Sec-Fetch-Site goes first: behind a proxy that changes Host, the browser alone knows what is the same origin.
    """
    if asked.origin == "null":
        return "The request comes from a page without an origin (Origin: null), such as a sandboxed frame or a file."
    if asked.origin in allowed or asked.fetch_site in _OURS:
        return None
    if asked.fetch_site is not None:
        return f"The request comes from {asked.origin or 'a page of another origin'} (Sec-Fetch-Site: {asked.fetch_site[:40]})."
    if asked.origin is None or _same(asked.origin, asked):
        return None
    return f"The request comes from {asked.origin[:200]}, which is another origin than {(asked.host or '')[:200]}."


def strange_host(asked: Asked, allowed: frozenset[str]) -> bool:
    """Is it asked for by a name that anybody on the internet could have pointed here, to make their page one of our origin (DNS rebinding)?

    Addresses, localhost, names without a dot (nobody can own one) and the hosts of allowed origins are not.
    """
    if asked.host is None:
        return False
    name = _hostname(asked.host)
    if "." not in name or name.endswith(".localhost") or name in {urlsplit(one).hostname for one in allowed}:
        return False
    return not _is_address(name)


def _same(origin: str, asked: Asked) -> bool:
    """TLS may end at a proxy, so that https there may be http here; never the other way round."""
    scheme, _, authority = origin.lower().partition("://")
    if scheme not in _DEFAULT_PORTS or (asked.tls and scheme == "http"):
        return False
    port = _DEFAULT_PORTS[scheme]
    return authority.removesuffix(port) == (asked.host or "").lower().removesuffix(port)


def _hostname(host: str) -> str:
    name = host.lower()
    name = name[1:].partition("]")[0] if name.startswith("[") else name.rpartition(":")[0] or name
    return name.rstrip(".")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
