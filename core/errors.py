"""The errors Rowcast raises on purpose: each says what happened and what to do next."""

from __future__ import annotations

import inspect


class RowcastError(Exception):
    """Rowcast failed."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or inspect.getdoc(type(self)) or type(self).__name__)


class ConfigurationError(RowcastError):
    """A setting is missing or wrong. Exit status 2: trying again will not help."""


class InvalidUserIdError(RowcastError):
    """This is not a user id of this database's type."""


class DatabaseUnavailableError(RowcastError):
    """Postgres did not answer. Rowcast tries again by itself."""


class DatabaseUnfitError(RowcastError):
    """This Postgres can't carry Rowcast as it is."""


class StaleReadError(DatabaseUnavailableError):
    """Postgres answered from a point in the log that is already behind us: a standby, or a primary that lost its tail."""


class UnreadableRowError(DatabaseUnavailableError):
    """A row of the log is larger than Postgres can write it out as JSON: delete it, or make it smaller."""


class SlowDatabaseError(DatabaseUnavailableError):
    """Postgres took longer over this than anybody may wait for it."""


class SlowReadError(DatabaseUnavailableError):
    """Postgres takes longer over this read than others may be kept waiting for."""


class RedisUnavailableError(RowcastError):
    """Redis did not answer. Rowcast tries again by itself."""


class RedisUnfitError(RowcastError):
    """This Redis can't carry Rowcast: sharded pub/sub needs Redis 7 or Valkey."""
