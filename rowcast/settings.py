"""The settings, and the only reader of the environment.

A flag wins over the environment (`ROWCAST_…`), that over the `.env` file, that over the default. The flags of the commands
and the table in docs/settings.md are made from the fields below.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from dotenv import dotenv_values
from pydantic import AfterValidator, ByteSize, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from core import fail_points
from core.durations import parse_duration
from core.errors import ConfigurationError
from core.user_ids import UserIdType

PREFIX = "ROWCAST_"
_NEEDED = {
    "database_url": "the Postgres of Rowcast: postgresql://user:password@host:5432/database",
    "redis_url": "the Redis (7 or newer) or Valkey of Rowcast: redis://:password@host:6379/0",
}


def _fail_points(spec: str) -> str:
    fail_points.parse(spec)
    return spec


def _duration(text: str) -> str:
    if text:
        parse_duration(text)
    return text


class Settings(BaseSettings):
    """Everything that can be set. Checked once, then frozen; lengths of time are seconds."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="ignore", env_ignore_empty=True, hide_input_in_errors=True
    )

    database_url: str = Field("", description="Postgres, as a URL with user and password.")
    redis_url: str = Field("", description="Redis (7 or newer) or Valkey, as a URL with its password.")
    redis_prefix: str = Field(
        "rowcast",
        pattern=r"^[^\s{}]+$",
        description="First part of every channel name; another one for each Rowcast on one Redis.",
    )
    auth: Literal["off", "jwt"] | None = Field(
        None,
        description="Who may read what: off (anybody, everything), for one's own machine; jwt is for a later version.",
    )
    insecure: bool = Field(False, description="Allow auth off on an address that other machines reach.")
    bind: str = Field(
        "127.0.0.1:8000",
        description="Where the web listens: host:port, [IPv6]:port, or fd://N for a listening socket that is handed over.",
    )
    port: int = Field(
        8000, ge=0, le=65535, description="Port of 127.0.0.1 that `up` serves on; 0 for any that is free."
    )
    workers: int = Field(1, ge=1, le=256, description="Web processes that share the port.")
    data_dir: Path = Field(Path(".rowcast"), description="Folder of `up` for its data.")
    ready_file: Path | None = Field(
        None, description="File that `up` writes, as JSON, once everything is ready, and removes at its end."
    )
    health_bind: str | None = Field(
        None, description="Where the bridge answers /healthz and /readyz, as host:port; not at all by default."
    )
    poll_interval: float = Field(
        1.0, ge=0.05, le=1, description="Seconds between looks for rows whose NOTIFY was lost."
    )
    heartbeat: float = Field(15.0, ge=0.05, le=300, description="Seconds between signs of life on a quiet stream.")
    retry: float = Field(
        3.0,
        ge=0.05,
        le=300,
        description="Seconds after which browsers reconnect; each is told one of its own around this.",
    )
    body_bytes: ByteSize = Field(
        ByteSize(2 * 1024 * 1024), ge=0, description="Largest body of a request, in bytes or as in 2MiB; 0 for any."
    )
    stream_queue: int = Field(
        1000, ge=1, le=1_000_000, description="Events that may wait for one slow browser before it is sent to replay."
    )
    pool_size: int = Field(
        4,
        ge=1,
        le=1000,
        description="Sessions with Postgres that a web process may hold for requests; it holds one more for re-reads.",
    )
    retention: Annotated[str, AfterValidator(_duration)] = Field(
        "",
        description="How long rows are kept, as in 30d or 12h; the leading bridge deletes older ones. For ever if unset.",
    )
    keep_unread: bool = Field(False, description="Keep rows that their user has not viewed, however old they are.")
    fail_points: Annotated[str, AfterValidator(_fail_points)] = Field(
        "",
        description="For tests of crashes only: where to kill, stop, pause or fail, as in bridge.claimed=kill@3,web.confirmed=pause:0.5.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="The least that is logged.")
    log_format: Literal["auto", "console", "json"] = Field(
        "auto", description="How: auto is console on a terminal, JSON lines elsewhere."
    )
    user_id_type: UserIdType = Field(
        UserIdType.BIGINT, description="Type of notifications.user_id, chosen when the table is made."
    )
    buckets: int = Field(
        1, ge=1, le=16384, description="Parts that users are spread over in a Redis Cluster; 1 for one server."
    )
    url: str | None = Field(
        None, description="Address of the web that `send` and `tail` talk to; else that of the `up` on --data-dir."
    )
    env_file: Path | None = Field(Path(".env"), description="File with settings, one NAME=value a line.")

    def need(self, *names: str) -> None:
        """Raise ConfigurationError for the first of these settings that is empty."""
        for name in names:
            if not getattr(self, name):
                raise ConfigurationError(f"{spelled(name)} is not set. It names {_NEEDED[name]}")

    def chosen(self, name: str) -> bool:
        """Whether somebody set it, in whatever way, be it to its default."""
        return name in self.model_fields_set

    def child_environment(self, **changes: object) -> dict[str, str]:
        """The environment for a process that shall have these settings, with `changes`, and read no others."""
        values = self.model_copy(update=changes).model_dump(mode="json", exclude={"env_file", "url", "ready_file"})
        inherited = {name: value for name, value in os.environ.items() if not name.upper().startswith(PREFIX)}
        own = {variable(name): _text(value) for name, value in values.items() if value not in (None, "")}
        return inherited | own | {variable("env_file"): ""}


def load(flags: Mapping[str, Any] | None = None) -> tuple[Settings, list[str]]:
    """The settings, `flags` first, and a sentence for each ROWCAST_… name that is none of ours; raises ConfigurationError."""
    flags = {name: value for name, value in (flags or {}).items() if value is not None}
    env_file = _env_file(flags)
    try:
        settings = Settings(**{"_env_file": env_file, **flags})
    except ValidationError as error:
        raise ConfigurationError("; ".join(_sentence(problem) for problem in error.errors())) from error
    from_file = dotenv_values(env_file) if env_file else {}
    return settings, _unknown([*os.environ, *from_file])


def require_auth_off(settings: Settings) -> None:
    """Raise ConfigurationError unless ROWCAST_AUTH=off was said: serving without asking who is there must be meant."""
    if settings.auth is None:
        raise ConfigurationError(
            f"{spelled('auth')} must be said: off lets anybody read everything and is for one's own machine."
        )
    if settings.auth != "off":
        raise ConfigurationError(f"{spelled('auth')}: jwt does not exist yet in this version; only off does.")


def variable(name: str) -> str:
    """The environment's name of a setting."""
    return PREFIX + name.upper()


def flag(name: str) -> str:
    """The command line's name of a setting."""
    return "--" + name.replace("_", "-")


def spelled(name: str) -> str:
    """Both names, for a sentence."""
    return f"{variable(name)} (or {flag(name)})"


def _env_file(flags: Mapping[str, Any]) -> Path | None:
    """The file to read: a default that is not there is no error, one that was asked for is."""
    asked = flags.get("env_file", os.environ.get(variable("env_file")))
    if asked is None:
        return Path(".env")
    if not asked:
        return None
    if not Path(asked).is_file():
        raise ConfigurationError(f"{spelled('env_file')} names {str(asked)!r}, which is no file.")
    return Path(asked)


def _unknown(names: list[str]) -> list[str]:
    known = [variable(name) for name in Settings.model_fields]
    return [
        _advice(name, known)
        for name in dict.fromkeys(names)
        if name.upper().startswith(PREFIX) and name.upper() not in known
    ]


def _advice(name: str, known: list[str]) -> str:
    bare = [one.removeprefix(PREFIX) for one in known]
    nearest = difflib.get_close_matches(name.upper().removeprefix(PREFIX), bare, n=1, cutoff=0.5)
    return f"{name} is no setting of Rowcast." + (f" Did you mean {PREFIX}{nearest[0]}?" if nearest else "")


def _sentence(problem: Any) -> str:
    """The setting, what is allowed, and what came."""
    name = str(problem["loc"][0])
    message = problem["msg"].removeprefix("Value error, ")
    return f"{spelled(name)}: {message[:1].lower()}{message[1:]}, and not {str(problem['input'])[:80]!r}"


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
