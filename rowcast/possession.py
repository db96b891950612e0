"""Who holds a data folder: at most one `up`, and what is left of the last one gets time to end.

Two locks of the kernel's, so that no kill leaves one behind. `lock` is held by `up` alone. `children.lock` is held by `up` and is
inherited by every process it starts, and by theirs: it is free only when all of them are gone.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import RowcastError

# Longer than the watchers of killed parents take to their SIGKILL.
_OLD_CHILDREN_WITHIN = 25.0
_PATIENCE = 0.5


class HeldError(RowcastError):
    """Another `rowcast up`, or another account, holds this data folder."""


@dataclass(frozen=True, slots=True)
class Possession:
    """A data folder that is ours. `children_lock` is to be inherited by all that works on it."""

    folder: Path
    children_lock: int


@contextmanager
def possess(folder: Path, say: Callable[[str], None]) -> Iterator[Possession]:
    """Hold the folder; raises HeldError, with pid and address of the holder, if another does."""
    _check_owner(folder / "lock")
    with _open(folder / "lock") as lock, _open(folder / "children.lock") as children:
        if not _try_lock_twice(lock):
            raise HeldError(_holder(folder))
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        _wait_for_old_children(folder, children, say)
        yield Possession(folder, children)


def _check_owner(lock: Path) -> None:
    """Before anything is touched: two accounts on one folder would lock each other out of parts of it."""
    try:
        owner = lock.stat().st_uid
    except FileNotFoundError:
        return
    except PermissionError:
        owner = lock.parent.stat().st_uid
    if owner != os.geteuid():
        raise HeldError(
            f"The data in {lock.parent} belongs to uid {owner}: run rowcast as that account, or give another --data-dir."
        )


def running_up(folder: Path) -> dict[str, Any] | None:
    """What the `up` that runs on this folder says of itself (see `Stack.report`); None if none runs or it is not ready yet."""
    try:
        with _open(folder / "lock", os.O_RDONLY) as lock:
            if _try_lock(lock, shared=True):
                return None
        return _report(folder)
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise RowcastError(
            f"The `rowcast up` in {folder} belongs to another account ({error.strerror}): give its address with --url."
        ) from error


@contextmanager
def _open(path: Path, flags: int = os.O_RDWR | os.O_CREAT) -> Iterator[int]:
    fd = os.open(path, flags | os.O_CLOEXEC, 0o600)
    try:
        yield fd
    finally:
        os.close(fd)


def _try_lock(fd: int, *, shared: bool = False) -> bool:
    try:
        fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _try_lock_twice(fd: int) -> bool:
    """As a `send` or `tail` that looks whether we run holds the lock for an instant too."""
    if _try_lock(fd):
        return True
    time.sleep(0.1)
    return _try_lock(fd)


def _wait_for_old_children(folder: Path, lock: int, say: Callable[[str], None]) -> None:
    began = time.monotonic()
    told = False
    while not _try_lock(lock):
        waited = time.monotonic() - began
        if waited > _OLD_CHILDREN_WITHIN:
            raise HeldError(
                f"Processes that an earlier `rowcast up` started in {folder} don't end; its last pids were {_pids(folder)}."
            )
        if waited > _PATIENCE and not told:
            told = True
            say("Waiting for what the last run left behind to stop")
        time.sleep(0.02)


def _holder(folder: Path) -> str:
    pid = (folder / "lock").read_text("ascii", "replace").strip() or "unknown"
    with contextlib.suppress(OSError):
        if report := _report(folder):
            return f"Another `rowcast up` (pid {pid}) holds {folder} and serves {report['web_url']}. Stop it, or give this one another --data-dir."
    return f"Another `rowcast up` (pid {pid}) holds {folder} and is starting or stopping. Wait for it, or give this one another --data-dir."


def _report(folder: Path) -> dict[str, Any] | None:
    try:
        report = json.loads((folder / "up.json").read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return report if isinstance(report, dict) and "web_url" in report else None


def _pids(folder: Path) -> object:
    with contextlib.suppress(OSError):
        return (_report(folder) or {}).get("pids", "unknown")
    return "unknown"
