"""Where it is measured: servers as `rowcast up` starts them, or those of the settings; and for each measurement a database of its own.

Rowcast's SQL names its tables in full (public.notifications, schema rowcast), so a schema of one's own in somebody's database would not
keep apart from what is there. A database of its own does, and dropping it leaves nothing; channels have a prefix of their own.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import psycopg

from core.errors import ConfigurationError
from db.migrate import migrate
from db.queries import query
from db.scratch import left_behind, looking, scratch_database
from rowcast.bench import parts
from rowcast.bench.endings import ignore_signals
from rowcast.bench.parts import Part
from rowcast.folders import prepare_folder, state_folder
from rowcast.settings import Settings

Say: TypeAlias = Callable[[str], None]
Session: TypeAlias = psycopg.Connection[tuple[Any, ...]]
DATABASES = "rowcast_bench_"


@dataclass(frozen=True, slots=True)
class Yard:
    """A migrated database, and processes over it. Nothing runs until it is asked for; all is gone when the measurement is."""

    settings: Settings
    database_url: str
    folder: Path

    def environment(self) -> Mapping[str, str]:
        return self.settings.child_environment(database_url=self.database_url)

    def bridge(self) -> AbstractContextManager[Part]:
        return parts.bridge(self.environment(), self.folder)

    def web(self) -> AbstractContextManager[Part]:
        return parts.web(self.environment(), self.folder)

    def rival(self, module: str, *more: str) -> AbstractContextManager[Part]:
        return parts.rival(module, self.environment(), self.folder, *more)

    @contextlib.contextmanager
    def running(self) -> Iterator[tuple[Part, Part]]:
        """A bridge that leads, and a web process."""
        with self.bridge() as bridge, self.web() as web:
            yield bridge, web

    def sql(self) -> AbstractContextManager[Session]:
        """A session for what is no part of the measurement."""
        return looking(self.database_url)


@dataclass(frozen=True, slots=True)
class Site:
    """Servers that run. `embedded`: which of them were started for this."""

    settings: Settings
    embedded: tuple[str, ...]
    folder: Path

    @contextlib.contextmanager
    def yard(self) -> Iterator[Yard]:
        """A new database, dropped at the end."""
        name = DATABASES + secrets.token_hex(6)
        with scratch_database(self.settings.database_url, name) as url:
            migrate(url, buckets=self.settings.buckets, say=lambda _: None)
            with looking(url) as session:
                session.execute(query("bench_prepare"))
            changes = {"redis_prefix": name, "database_url": url}
            yield Yard(self.settings.model_copy(update=changes), url, self.folder)


# What an operator may have set and a measurement must not: limits, clean-up, other people's tests.
_OUR_OWN = {
    "auth": "off",
    "workers": 1,
    "log_level": "warning",
    "log_format": "json",
    "health_bind": None,
    "retention": "",
    "keep_unread": False,
    "fail_points": "",
    "streams_per_user": 0,
    "streams_per_address": 0,
    "requests_per_address": 0,
}


@contextlib.contextmanager
def site(settings: Settings, say: Say) -> Iterator[Site]:
    """The servers of the settings, and embedded ones for those that they don't name, with a folder beside the data of `up`."""
    settings = settings.model_copy(update=_OUR_OWN)
    with contextlib.ExitStack() as undo:
        folder = undo.enter_context(_folder(settings))
        embedded = []
        try:
            if not settings.database_url:
                settings = settings.model_copy(update={"database_url": undo.enter_context(_postgres(folder))})
                embedded.append("Postgres")
            else:
                _mention_left_behind(settings.database_url, say)
            if not settings.redis_url:
                settings = settings.model_copy(update={"redis_url": undo.enter_context(_valkey(folder))})
                embedded.append("Valkey")
            yield Site(settings, tuple(embedded), folder)
        finally:
            ignore_signals()


@contextlib.contextmanager
def _folder(settings: Settings) -> Iterator[Path]:
    """On the disk that `up` would use: where a commit goes is what much of this measures."""
    base = state_folder(settings.data_dir)
    made_base = not base.exists()
    folder = base / f"bench-{secrets.token_hex(4)}"
    try:
        prepare_folder(base)
        prepare_folder(folder)
    except OSError as error:
        raise ConfigurationError(f"Can't write to {folder}: {error.strerror}. Give another --data-dir.") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if made_base:
            with contextlib.suppress(OSError):
                base.rmdir()


@contextlib.contextmanager
def _postgres(folder: Path) -> Iterator[str]:
    from rowcast.embedded import start_postgres  # noqa: PLC0415 -- an extra: not there where servers of one's own are used

    server = start_postgres(folder)
    try:
        yield server.url
    finally:
        server.stop()


@contextlib.contextmanager
def _valkey(folder: Path) -> Iterator[str]:
    from rowcast.embedded import start_valkey  # noqa: PLC0415

    server = start_valkey(folder)
    try:
        yield server.url
    finally:
        server.stop()


def _mention_left_behind(url: str, say: Say) -> None:
    if names := left_behind(url, DATABASES):
        say(
            f"Left behind by benchmarks that were killed, or in use by one: {', '.join(names)}. DROP DATABASE removes one."
        )
