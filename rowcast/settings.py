"""The settings, and the only reader of the environment.

A flag wins over the environment (`ROWCAST_…`), that over the `.env` file, that over the default. The flags of the commands
and the table in docs/settings.md are made from the fields below.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from dotenv import dotenv_values
from pydantic import AfterValidator, ByteSize, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from core import fail_points
from core.durations import parse_duration
from core.errors import ConfigurationError
from core.origins import parse_origins
from core.user_ids import UserIdType
from rowcast.secret_files import read_secret
from web.addresses import TrustedProxies

PREFIX = "ROWCAST_"
# What bounds one user, address, stream or request.
CAPS = ("streams_per_user", "streams_per_address", "requests_per_address", "replay_rows", "query_timeout")
# What nobody may see; each can also be in a file.
SECRETS = ("database_url", "redis_url", "jwt_key", "token")
# What counts with auth jwt only.
OF_JWT = ("jwt_key", "jwt_key_file", "jwks_url", "jwt_issuer", "jwt_audience", "jwt_leeway", "jwt_user_claim")
_NEEDED = {
    "database_url": "the Postgres of Rowcast: postgresql://user:password@host:5432/database",
    "jwt_key": "what tokens are made and checked with: a secret, as openssl rand -base64 48 makes one",
    "redis_url": "the Redis (7 or newer) or Valkey of Rowcast: redis://:password@host:6379/0",
}


def _fail_points(spec: str) -> str:
    fail_points.parse(spec)
    return spec


def _duration(text: str) -> str:
    if text:
        parse_duration(text)
    return text


def _origins(text: str) -> str:
    parse_origins(text)
    return text


def _proxies(text: str) -> str:
    TrustedProxies.parse(text)
    return text


class Settings(BaseSettings):
    """Everything that can be set. Checked once, then frozen; lengths of time are seconds."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="ignore", env_ignore_empty=True, hide_input_in_errors=True
    )

    database_url: str = Field("", description="Postgres, as a URL with user and password.")
    database_url_file: Path | None = Field(None, description="File that holds the URL of Postgres, in its stead.")
    redis_url: str = Field(
        "",
        description="Redis (7 or newer) or Valkey, as a URL with its password: a server, any nodes of a Cluster (`redis://h1,h2`), or Sentinels (`redis+sentinel://s1,s2/mymaster`).",
    )
    redis_url_file: Path | None = Field(None, description="File that holds the URL of Redis, in its stead.")
    redis_prefix: str = Field(
        "rowcast",
        pattern=r"^[^\s{}]+$",
        description="First part of every channel name; another one for each Rowcast on one Redis.",
    )
    auth: Literal["off", "jwt"] | None = Field(
        None,
        description="Who may read what: jwt (each token what it says), as it is deployed; off (anybody, everything), for one's own machine.",
    )
    jwt_key: str = Field(
        "",
        description="What tokens are checked with: a secret of 32 bytes or more (HS256), or a public key in PEM (RS256, ES256, EdDSA).",
    )
    jwt_key_file: Path | None = Field(None, description="File that holds that key, in its stead.")
    jwks_url: str = Field(
        "", description="Where the keys are published that tokens are checked with (a JWKS), in place of one key."
    )
    jwt_issuer: str = Field("", description="What the claim `iss` of a token must be; anything if unset.")
    jwt_audience: str = Field(
        "", description="What the claim `aud` of a token must be or contain; if unset, tokens must have none."
    )
    jwt_leeway: float = Field(
        5.0, ge=0, le=300, description="Seconds that the clocks of those who make tokens may differ from ours."
    )
    jwt_user_claim: str = Field("sub", min_length=1, description="The claim of a token that holds the user id.")
    insecure: bool = Field(
        False,
        description="Allow auth off on an address that other machines reach, and under any name: something else guards it.",
    )
    bind: str = Field(
        "127.0.0.1:8000",
        description="Where the web listens: host:port, [IPv6]:port, or fd://N for a listening socket that is handed over.",
    )
    port: int = Field(
        8000, ge=0, le=65535, description="Port of 127.0.0.1 that `up` serves on; 0 for any that is free."
    )
    workers: int = Field(1, ge=1, le=256, description="Web processes that share the port.")
    server: Literal["hypercorn", "uvicorn"] = Field(
        "hypercorn", description="HTTP server of the web; uvicorn comes with the extra rowcast[uvicorn]."
    )
    data_dir: Path = Field(Path(".rowcast"), description="Folder of `up` for its data.")
    ready_file: Path | None = Field(
        None, description="File that `up` writes, as JSON, once everything is ready, and removes at its end."
    )
    health_bind: str | None = Field(
        None,
        description="Where the bridge answers /healthz, /readyz and /metrics, as host:port; not at all by default.",
    )
    poll_interval: float = Field(
        1.0, ge=0.05, le=1, description="Seconds between looks for rows whose NOTIFY was lost."
    )
    cors_origins: Annotated[str, AfterValidator(_origins)] = Field(
        "",
        description="Origins, as in `https://app.example.org`, whose pages may call the web from a browser; several with spaces or commas between.",
    )
    heartbeat: float = Field(15.0, ge=0.05, le=300, description="Seconds between signs of life on a quiet stream.")
    retry: float = Field(
        3.0,
        ge=0.05,
        le=300,
        description="Seconds after which browsers reconnect; each is told one of its own around this.",
    )
    certfile: Path | None = Field(
        None, description="Certificate chain of the web, as PEM: it then speaks HTTPS, with HTTP/2 on Hypercorn."
    )
    keyfile: Path | None = Field(None, description="Key of that certificate, as PEM.")
    connections: int | None = Field(
        None,
        ge=0,
        description="Connections that a web process holds at once; 0 for any number. 0.9 of its limit of descriptors (`ulimit -n`) if unset.",
    )
    header_bytes: ByteSize = Field(
        ByteSize(16 * 1024),
        ge=1024,
        description="Longest line and headers of a request together, in bytes or as in 16KiB.",
    )
    body_bytes: ByteSize = Field(
        ByteSize(2 * 1024 * 1024), ge=0, description="Largest body of a request, in bytes or as in 2MiB; 0 for any."
    )
    streams_per_user: int = Field(
        50, ge=0, description="Streams of one user that may be open in each web process; 0 for any number."
    )
    streams_per_address: int = Field(
        1000, ge=0, description="Streams of one address (of IPv6, one /64) that may be open in each; 0 for any number."
    )
    requests_per_address: int = Field(
        100,
        ge=0,
        description="Requests a second that one address may make of each, /healthz and /readyz left out; 0 for any number.",
    )
    replay_rows: int = Field(
        1_000_000,
        ge=0,
        description="Rows that one connection is sent of what it missed: of more, the newest, after a `reset`; 0 for any number.",
    )
    query_timeout: float = Field(
        10.0,
        ge=0.1,
        le=3600,
        description="Seconds that a request may take of Postgres, the wait for a session included.",
    )
    trusted_proxies: Annotated[str, AfterValidator(_proxies)] = Field(
        "",
        description="Proxies that are believed when they say who asks (security.md): addresses, networks, `unix`, with commas or spaces between.",
    )
    stream_queue: int = Field(
        1000, ge=1, le=1_000_000, description="Events that may wait for one slow browser before it is sent to replay."
    )
    pool_size: int = Field(
        4,
        ge=1,
        le=1000,
        description="Sessions with Postgres of a web process, for requests and missed rows; one more is for re-reads, and with auth jwt another, "
        "or two for some minutes after a revocation.",
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
    token: str = Field(
        "",
        description="What `send` and `tail` show the web, to say who they are; beside an `up --auth jwt` they make one themselves.",
    )
    token_file: Path | None = Field(
        None, description="File that holds that token, in its stead, so that no list of processes shows it."
    )
    env_file: Path | None = Field(Path(".env"), description="File with settings, one NAME=value a line.")

    def need(self, *names: str) -> None:
        """Raise ConfigurationError for the first of these settings that is empty, or for a URL of Redis that is none."""
        for name in names:
            if not getattr(self, name):
                raise ConfigurationError(f"{spelled(name)} is not set. It names {_NEEDED[name]}")
        if "redis_url" in names:
            check_redis_url(self)

    def with_secrets(self, *names: str) -> Settings:
        """The same, with those of these secrets that are in files read from them; raises ConfigurationError."""
        changes: dict[str, object] = {}
        for name in names:
            if (path := getattr(self, file_of(name))) is None:
                continue
            if getattr(self, name):
                raise ConfigurationError(
                    f"{spelled(name)} and {spelled(file_of(name))} are both set. Keep one of them."
                )
            changes |= {name: read_secret(path, spelled(file_of(name))), file_of(name): None}
        return self.model_copy(update=changes)

    def chosen(self, name: str) -> bool:
        """Whether somebody set it, in whatever way, be it to its default."""
        return name in self.model_fields_set

    def child_environment(self, **changes: object) -> dict[str, str]:
        """The environment for a process that shall have these settings, with `changes`, and read no others.

        Secrets that came from files go there as they were read: a restarted worker checks tokens with the key that its siblings have.
        """
        left_out = {"env_file", "url", "token", "ready_file", *map(file_of, SECRETS)}
        values = self.model_copy(update=changes).model_dump(mode="json", exclude=left_out)
        inherited = {name: value for name, value in os.environ.items() if not name.upper().startswith(PREFIX)}
        own = {variable(name): _text(value) for name, value in values.items() if value not in (None, "")}
        return inherited | own | {variable("env_file"): ""}


def load(flags: Mapping[str, Any] | None = None, secrets: Sequence[str] = SECRETS) -> tuple[Settings, list[str]]:
    """The settings, `flags` first, and a sentence for each ROWCAST_… name that is none of ours; raises ConfigurationError.

    Of the SECRETS that are in files those named are read, and the key of tokens only if there are any.
    """
    flags = {name: value for name, value in (flags or {}).items() if value is not None}
    env_file = _env_file(flags)
    settings = _checked({"_env_file": env_file, **flags, **_overruled(flags)})
    settings = settings.with_secrets(*(name for name in secrets if name not in OF_JWT or settings.auth == "jwt"))
    from_file = dotenv_values(env_file) if env_file else {}
    return settings, _unknown([*os.environ, *from_file])


def _checked(values: dict[str, Any]) -> Settings:
    """The settings; what is wrong in those of a mode that is off is passed over."""
    try:
        return Settings(**values)
    except ValidationError as error:
        problems = error.errors()
    of_jwt = {name: Settings.model_fields[name].default for name in OF_JWT}
    if all(problem["loc"][0] in of_jwt for problem in problems):
        settings = Settings(**{**values, **of_jwt})
        if settings.auth != "jwt":
            return settings
    raise ConfigurationError("; ".join(_sentence(problem) for problem in problems))


def _overruled(flags: Mapping[str, Any]) -> dict[str, str | None]:
    """A flag wins over the environment: also one that names a file over a secret there, and the other way round."""
    secrets = {name: "" for name in SECRETS if file_of(name) in flags and name not in flags}
    files = {file_of(name): None for name in SECRETS if name in flags and file_of(name) not in flags}
    return secrets | files


def check_redis_url(settings: Settings) -> None:
    """Raise ConfigurationError for what is no URL of Redis: before anything waits for a server."""
    from fanout.redis_url import read_url  # noqa: PLC0415 -- only who needs Redis waits for its driver to load

    if settings.redis_url:
        read_url(settings.redis_url)


def require_auth(settings: Settings) -> None:
    """Raise ConfigurationError unless ROWCAST_AUTH was said: serving without asking who is there must be meant."""
    if settings.auth is None:
        raise ConfigurationError(
            f"{spelled('auth')} must be said: jwt asks everybody for a token; off lets anybody read everything and is for one's own machine."
        )


def variable(name: str) -> str:
    """The environment's name of a setting."""
    return PREFIX + name.upper()


def file_of(name: str) -> str:
    """The setting that names a file in which that secret is."""
    return name + "_file"


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
    came = "what it is" if name.removesuffix("_file") in SECRETS else repr(str(problem["input"])[:80])
    return f"{spelled(name)}: {message[:1].lower()}{message[1:]}, and not {came}"


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
