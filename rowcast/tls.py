"""Certificates: checked at start, and read again when they were renewed."""

from __future__ import annotations

import os
import ssl
from collections.abc import Sequence
from pathlib import Path

import structlog

from core.clock import Clock
from core.errors import ConfigurationError

_log = structlog.get_logger("tls")

# What the servers offer by ALPN: Hypercorn, uvicorn, and one that offers nothing.
SPOKEN = (("h2", "http/1.1"), ("http/1.1",), ())
# Seconds between looks at the files.
LOOK = 30.0


def certificate(certfile: Path | None, keyfile: Path | None, clock: Clock) -> Certificate | None:
    """That of the settings, if any; raises ConfigurationError unless both are named and fit."""
    if certfile is None and keyfile is None:
        return None
    if certfile is None or keyfile is None:
        there, lacking = ("keyfile", "certfile") if certfile is None else ("certfile", "keyfile")
        raise ConfigurationError(f"{_spelled(there)} is set and {_spelled(lacking)} is not: TLS needs both.")
    return Certificate(certfile, keyfile, clock)


class Certificate:
    """A certificate and its key, in PEM files that others may renew."""

    def __init__(self, certfile: Path, keyfile: Path, clock: Clock) -> None:
        """Raises ConfigurationError if they are not to be used."""
        self._certfile = certfile
        self._keyfile = keyfile
        self._clock = clock
        self._looked = clock.now()
        self._seen = self._look()
        # All that a server asks for, now: the files may be half renewed when its first client comes.
        self._contexts: dict[tuple[str, ...], ssl.SSLContext] = {one: self._context(one) for one in SPOKEN}

    def context(self, protocols: Sequence[str]) -> ssl.SSLContext:
        """For the next connection, which may speak one of these protocols (of ALPN)."""
        if self._clock.now() - self._looked >= LOOK:
            self._looked = self._clock.now()
            self._renew()
        key = tuple(protocols)
        if key not in self._contexts:
            self._contexts[key] = self._context(key)
        return self._contexts[key]

    def _renew(self) -> None:
        seen = self._look()
        if seen == self._seen or () in seen:
            return
        try:
            renewed = {key: self._context(key) for key in self._contexts}
        except ConfigurationError as error:
            _log.error("tls.not_renewed", why=str(error), hint="the certificate read before stays in use")
        else:
            self._contexts = renewed
            _log.info("tls.renewed", certificate=str(self._certfile))
        self._seen = seen

    def _look(self) -> list[tuple[int, ...]]:
        return [_state(path) for path in (self._certfile, self._keyfile)]

    def _context(self, protocols: Sequence[str]) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # RFC 9113, 9.2: no compression, no renegotiation, and in TLS 1.2 only suites with forward secrecy and AEAD.
        context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
        context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
        if protocols:
            context.set_alpn_protocols(list(protocols))
        for name, path in (("certfile", self._certfile), ("keyfile", self._keyfile)):
            if not os.access(path, os.R_OK) or not path.is_file():
                raise ConfigurationError(
                    f"{_spelled(name)}: can't read {str(path)!r}. Name a PEM file that this user may read."
                )
        try:
            context.load_cert_chain(self._certfile, self._keyfile, password=_no_password)
        except OSError as error:  # which an SSLError is; or no descriptor is left, or a file has gone
            raise ConfigurationError(_explained(error, self._certfile, self._keyfile)) from error
        return context


def _no_password() -> str:
    raise ConfigurationError(
        f"{_spelled('keyfile')}: the key is encrypted, and nobody is there to type its password. Write it without one, readable for this user only."
    )


def _explained(error: OSError, certfile: Path, keyfile: Path) -> str:
    if not isinstance(error, ssl.SSLError):
        return f"{_spelled('certfile')} and {_spelled('keyfile')}: can't read {str(certfile)!r} and {str(keyfile)!r}: {error.strerror}."
    if error.reason == "KEY_VALUES_MISMATCH":
        return (
            f"{_spelled('keyfile')}: the key in {str(keyfile)!r} is not that of the certificate in {str(certfile)!r}."
        )
    return (
        f"{_spelled('certfile')} and {_spelled('keyfile')}: {str(certfile)!r} and {str(keyfile)!r} are no certificate and key in PEM form "
        f"({(error.reason or 'unknown format').replace('_', ' ').lower()})."
    )


def _spelled(name: str) -> str:
    return f"ROWCAST_{name.upper()} (or --{name})"


def _state(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError:
        return ()
    return (found.st_mtime_ns, found.st_size, found.st_ino)
