"""Servers of the tests' own, from the wheels: nothing of the machine is used, nothing outlives the test run."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rowcast.embedded import Server, start_postgres, start_valkey

# Still safe against killed processes, which is all that tests kill; synchronous_commit off would not be.
FAST = {"fsync": "off", "full_page_writes": "off"}
SAFE = dict.fromkeys(FAST, "on")  # for whom FAST is the default


@contextmanager
def folder() -> Iterator[Path]:
    """A folder that the servers' account can reach even for root (pytest's own tmp_path is closed to others)."""
    path = Path(tempfile.mkdtemp(prefix="rowcast-test-"))
    path.chmod(0o711)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def embedded_postgres(*, settings: Mapping[str, str] | None = None, programs: Path | None = None) -> Iterator[Server]:
    """A Postgres without flushes; its `url` is the superuser's. `programs`: the bin folder of another version."""
    with folder() as state:
        server = start_postgres(state, settings=FAST | dict(settings or {}), programs=programs)
        try:
            yield server
        finally:
            server.stop()


@contextmanager
def embedded_valkey() -> Iterator[Server]:
    """An empty Valkey."""
    with folder() as state:
        server = start_valkey(state)
        try:
            yield server
        finally:
            server.stop()
