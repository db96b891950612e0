"""Secrets in files, as Docker and Kubernetes hand them over."""

from __future__ import annotations

from pathlib import Path

from core.errors import ConfigurationError

# Bytes. Whoever names a device by mistake is told so.
LARGEST = 1 << 16


def read_secret(path: Path, setting: str) -> str:
    """What the file holds, without the newline at its end; raises ConfigurationError, which names the setting.

    It tells neither what the file holds nor what it is called: who mistakes one setting for the other writes the secret there.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST + 1)
        text = raw.decode("utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        raise ConfigurationError(f"{setting} names a file that can't be read: {reason}.") from None
    if len(raw) > LARGEST:
        raise ConfigurationError(f"{setting} names a file of more than {LARGEST} bytes, too much for a secret.")
    secret = text.removesuffix("\n").removesuffix("\r")
    if not secret:
        raise ConfigurationError(f"{setting} names a file that holds nothing.")
    return secret
