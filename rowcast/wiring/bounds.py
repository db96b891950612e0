"""What a web process lets clients do to its connections, from settings."""

from __future__ import annotations

import resource

from core.clock import Clock
from rowcast.door import Bounds
from rowcast.settings import Settings
from rowcast.tls import certificate
from web.refusals import Cap, Refusals

# Of all descriptors: the rest is kept for what is no client.
FOR_CLIENTS = 0.9


def bounds_of(settings: Settings, refusals: Refusals, clock: Clock) -> Bounds:
    """The bounds, with the certificate; raises ConfigurationError if that is not fit."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    tls = certificate(settings.certfile, settings.keyfile, clock)
    return Bounds(
        connections=int(FOR_CLIENTS * descriptors) if settings.connections is None else settings.connections,
        header_bytes=int(settings.header_bytes),
        count=lambda what: refusals.count(Cap(what)),
        tls=tls.context if tls else None,
        clock=clock,
    )
