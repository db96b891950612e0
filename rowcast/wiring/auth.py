"""Who is asking, from settings: what tokens are checked with."""

from __future__ import annotations

import ipaddress
from urllib.parse import SplitResult, urlsplit

from core.errors import ConfigurationError
from rowcast.settings import Settings, spelled
from web.auth.config import AuthConfig


def auth_config(settings: Settings) -> AuthConfig:
    """How tokens are checked with auth jwt; raises ConfigurationError if they can't be. For the process that reads the settings first."""
    if not settings.jwt_key and not settings.jwks_url:
        raise ConfigurationError(
            f"With {spelled('auth')} jwt, tokens need something to be checked with: {spelled('jwt_key')}, a secret or a "
            f"public key, or {spelled('jwks_url')}. A secret is made with: openssl rand -base64 48"
        )
    if settings.jwt_key and settings.jwks_url:
        raise ConfigurationError(f"{spelled('jwt_key')} and {spelled('jwks_url')} are both set. Keep one of them.")
    if settings.jwks_url:
        _require_safe(settings.jwks_url)
    else:
        from web.auth.keys import read_key  # noqa: PLC0415 -- what auth off has no use for

        read_key(settings.jwt_key)
    return AuthConfig(
        key=settings.jwt_key,
        jwks_url=settings.jwks_url,
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience,
        leeway=settings.jwt_leeway,
        user_claim=settings.jwt_user_claim,
    )


def _require_safe(url: str) -> None:
    """Whoever can change the keys on their way makes tokens that we take."""
    try:
        parts = urlsplit(url)
        fit = bool(parts.hostname) and (parts.scheme == "https" or (parts.scheme == "http" and _is_local(parts)))
        fit = fit and parts.port != 0
    except ValueError:
        fit = False
    if not fit:
        raise ConfigurationError(
            f"{spelled('jwks_url')} must be an https:// URL; http:// is for this machine (localhost) only."
        )


def _is_local(parts: SplitResult) -> bool:
    host = parts.hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
