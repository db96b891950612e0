"""Folders and files of `up`: where its data really is, which account its servers run as, files written whole or not at all."""

from __future__ import annotations

import hashlib
import os
import pwd
from pathlib import Path

from core.errors import RowcastError
from rowcast.children import Account

_FOR_ROOT = Path("/var/lib/rowcast")


def server_account() -> Account | None:
    """None for ordinary users (servers run as they do); for root `postgres`, else `nobody`, as Postgres refuses to run as root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, entry.pw_uid, entry.pw_gid)
    raise RowcastError(
        "Postgres does not run as root, and there is no account `postgres` or `nobody` to run it as: run rowcast as an ordinary user."
    )


def reachable(path: Path, account: Account) -> bool:
    """Whether `account` may enter every folder on the way to `path` (by mode bits; access lists are not looked at)."""
    return all(_may_enter(folder, account) for folder in path.resolve().parents if folder.is_dir())


def _may_enter(folder: Path, account: Account) -> bool:
    seen = folder.stat()
    if seen.st_uid == account.uid:
        return bool(seen.st_mode & 0o100)
    if seen.st_gid == account.gid:
        return bool(seen.st_mode & 0o010)
    return bool(seen.st_mode & 0o001)


def state_folder(data_dir: Path) -> Path:
    """The folder that really holds the data of `data_dir`.

    That is itself, or for root below a folder that others can't enter, /var/lib/rowcast/<hash of the path>.
    """
    data_dir = data_dir.expanduser().absolute()
    account = server_account()
    if account is None or reachable(data_dir, account):
        return data_dir
    return _FOR_ROOT / hashlib.sha256(str(data_dir.resolve()).encode()).hexdigest()[:16]


def prepare_folder(folder: Path) -> None:
    """Make the folder, ours alone; the servers' account may pass through it, not look into it."""
    mode = 0o711 if os.geteuid() == 0 else 0o700
    folder.mkdir(parents=True, exist_ok=True)
    if folder.stat().st_uid == os.geteuid():
        folder.chmod(mode)
    if folder.parent == _FOR_ROOT:
        _FOR_ROOT.chmod(0o711)


def write_private(path: Path, text: str, account: Account | None = None) -> None:
    """Write a file whole or not at all, readable by `account` (else by us) only."""
    making = path.with_name(f"{path.name}.{os.getpid()}")
    making.unlink(missing_ok=True)
    with os.fdopen(os.open(making, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    if account is not None:
        os.chown(making, account.uid, account.gid)
    making.replace(path)
