"""Listening sockets of our own making: they can be handed to children, keep their port over a restart, and drop stuck peers."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import re
import socket
from dataclasses import dataclass

from core.errors import ConfigurationError, RowcastError

BACKLOG = 4096
# Seconds that a connection may be open without a request, and that the head of one may take from its first byte to its last.
IDLE_TIMEOUT = 30.0
HEAD_TIMEOUT = 10.0
# A peer that reads nothing for so long is gone or means harm; without this the kernel keeps its megabytes of unsent events.
_STUCK_AFTER_MS = 30_000
_HOST_PORT = re.compile(r"(?:\[(?P<v6>[^\[\]]+)\]|(?P<host>[^\[\]:]+)):(?P<port>[0-9]{1,5})")
_HANDED_OVER = re.compile(r"fd://([0-9]{1,9}(?:,[0-9]{1,9})*)")
_NOT_HERE = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}

_Address = tuple[socket.AddressFamily, tuple[str, int]]


@dataclass(frozen=True, slots=True)
class Bind:
    """Where to listen: the addresses that a name stands for, or sockets that were handed over."""

    text: str
    addresses: tuple[_Address, ...] = ()
    fds: tuple[int, ...] = ()


def parse_bind(text: str, *, setting: str = "ROWCAST_BIND (or --bind)") -> Bind:
    """Understand host:port, [IPv6]:port or fd://N[,N]; names are resolved. Raises ConfigurationError."""
    if handed := _HANDED_OVER.fullmatch(text):
        return Bind(text, fds=tuple(int(fd) for fd in handed[1].split(",")))
    parts = _HOST_PORT.fullmatch(text)
    if parts is None or int(parts["port"]) > 65535:  # noqa: PLR2004
        raise ConfigurationError(
            f"{setting} must be host:port with a port up to 65535, such as 127.0.0.1:8000 or [::1]:8000, and not {text[:80]!r}."
        )
    host = parts["v6"] or parts["host"]
    try:
        found = socket.getaddrinfo(host, int(parts["port"]), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise ConfigurationError(f"{setting}: the name {host!r} has no address ({error}).") from error
    return Bind(
        text, tuple(dict.fromkeys((family, (str(address[0]), int(address[1]))) for family, _, _, _, address in found))
    )


def listen(bind: Bind, *, flag: str = "--bind") -> list[socket.socket]:
    """Listen there; port 0 takes a free port, the same for all addresses. Raises RowcastError, which tells to use `flag` for another port."""
    if bind.fds:
        return [_handed_over(fd) for fd in bind.fds]
    sockets: list[socket.socket] = []
    with contextlib.ExitStack() as undo:
        for family, (host, port) in bind.addresses:
            try:
                made = _listening(
                    family, host, port or (_port(sockets[0]) if sockets else 0), only_v6=len(bind.addresses) > 1
                )
            except OSError as error:
                if error.errno in _NOT_HERE and len(bind.addresses) > 1:
                    continue  # a name such as localhost, on a machine without IPv6
                raise _explained(bind.text, error, flag) from error
            undo.callback(made.close)
            sockets.append(made)
        if not sockets:
            raise RowcastError(f"Can't listen on {bind.text}: no address of this machine.")
        undo.pop_all()
    return sockets


def is_loopback(bind: Bind) -> bool:
    """Whether no other machine can reach what listens there."""
    with contextlib.ExitStack() as undo:
        handed = [undo.enter_context(_handed_over(fd)) for fd in bind.fds]
        hosts = [str(made.getsockname()[0]) for made in handed if made.family != socket.AF_UNIX]
    return all(map(_is_loopback_host, (*hosts, *(host for _, (host, _) in bind.addresses))))


def http_address(made: socket.socket, *, tls: bool = False) -> str:
    """http://host:port of a listening socket, with the port it really has; https:// with TLS. unix:path of a Unix socket."""
    if made.family == socket.AF_UNIX:
        name = made.getsockname()  # bytes that begin with NUL: one of Linux's abstract ones, unix(7)
        return f"unix:{'@' + name[1:].decode(errors='replace') if isinstance(name, bytes) else name}"
    host, port = made.getsockname()[:2]
    scheme = "https" if tls else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _handed_over(fd: int) -> socket.socket:
    """A socket of its own for a descriptor that stays open."""
    try:
        made = socket.socket(fileno=os.dup(fd))
    except OSError as error:
        raise ConfigurationError(f"fd://{fd} is no socket that was handed over ({error.strerror}).") from error
    made.setblocking(False)
    return made


def _listening(family: socket.AddressFamily, host: str, port: int, *, only_v6: bool) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only_v6)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _STUCK_AFTER_MS)
        made.bind((host, port))
        made.listen(BACKLOG)
        made.setblocking(False)
    except BaseException:
        made.close()
        raise
    return made


def _port(made: socket.socket) -> int:
    return int(made.getsockname()[1])


def _is_loopback_host(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _explained(text: str, error: OSError, flag: str) -> RowcastError:
    if error.errno == errno.EADDRINUSE:
        return RowcastError(
            f"Can't listen on {text}: another program has that port. Choose another with {flag}, or end that program."
        )
    if error.errno == errno.EACCES:
        return RowcastError(f"Can't listen on {text}: ports below 1024 are for root. Choose a higher one.")
    return RowcastError(f"Can't listen on {text}: {error.strerror}.")
