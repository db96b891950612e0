"""The key of `up --auth jwt`: made once, kept in its data folder, and found there by the commands that talk to that `up`."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

from core.errors import RowcastError
from rowcast.folders import write_private
from rowcast.settings import Settings

_FILE = "jwt.key"


def needs_own_key(settings: Settings) -> bool:
    """Shall tokens be asked for, and nothing was given to check them with?"""
    return settings.auth == "jwt" and not settings.jwt_key and not settings.jwks_url


def own_key_file(folder: Path) -> Path:
    """The file with the key of an `up` on that folder, made the first time, for its owner alone."""
    path = folder / _FILE
    if not path.is_file():
        write_private(path, secrets.token_hex(32) + "\n")
    return path


def with_key_of_up(settings: Settings, report: dict[str, Any] | None) -> Settings:
    """These settings with the key of the `up` that says this of itself, if it has one of its own; raises RowcastError if that can't be read."""
    path = (report or {}).get("jwt_key_file")
    return with_own_key(settings, Path(path)) if path else settings


def with_own_key(settings: Settings, path: Path) -> Settings:
    """The same, from its file."""
    try:
        key = path.read_text("utf-8").strip()
    except OSError as error:
        raise RowcastError(
            f"Can't read {path}, the key of the `rowcast up` there ({error.strerror}): run this as the account that `up` runs as."
        ) from error
    return settings.model_copy(update={"jwt_key": key, "jwks_url": ""})
