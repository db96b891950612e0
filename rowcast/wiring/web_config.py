"""What the web is told of the settings."""

from __future__ import annotations

from core.origins import parse_origins
from rowcast.settings import Settings
from web.addresses import TrustedProxies
from web.config import Caps, WebConfig


def web_config(settings: Settings) -> WebConfig:
    """All of it but the type of user ids, which the database has."""
    return WebConfig(
        body_bytes=int(settings.body_bytes),
        heartbeat=settings.heartbeat,
        retry=settings.retry,
        stream_queue=settings.stream_queue,
        cors_origins=parse_origins(settings.cors_origins),
        known_hosts_only=not settings.insecure,
        token_leeway=settings.jwt_leeway,
        caps=Caps(
            streams_per_user=settings.streams_per_user,
            streams_per_address=settings.streams_per_address,
            requests_per_address=settings.requests_per_address,
            replay_rows=settings.replay_rows,
            query_timeout=settings.query_timeout,
        ),
        trusted_proxies=TrustedProxies.parse(settings.trusted_proxies),
    )
