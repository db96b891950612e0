"""What postmaster.pid tells: whether a server on this data is ready, and whether the one it names still runs."""

from __future__ import annotations

import signal
import time
from pathlib import Path

from rowcast.children import Child
from rowcast.embedded.server import EmbeddedServerError

_LOCK_FILE = "postmaster.pid"
# The pid, and on the eighth line what it is doing.
_PID_LINE, _STATE_LINE = 0, 7


def clear_stale_lock(data: Path) -> None:
    """Remove the lock file of a postmaster that was killed; one that still runs on this data is shut down first.

    Its pid alone says nothing: it may be a zombie or belong to any other program by now.
    """
    import psutil  # noqa: PLC0415 -- part of the extra: `up` with servers of one's own does without

    path = data / _LOCK_FILE
    try:
        process = psutil.Process(int(path.read_text("utf-8").splitlines()[_PID_LINE]))
        if process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()) == data.resolve():
            process.send_signal(signal.SIGINT)
            process.wait(10)
    except (OSError, ValueError, IndexError, psutil.NoSuchProcess):
        pass
    except psutil.TimeoutExpired as error:
        raise EmbeddedServerError(
            f"A Postgres (pid {error.pid}) still runs on {data} and does not stop: end it, then try again."
        ) from error
    except psutil.AccessDenied:
        pass  # a program of another account: not one that could run on this data
    path.unlink(missing_ok=True)


def wait_until_ready(data: Path, child: Child, *, within: float) -> bool:
    """True once the server says in its lock file that it is ready; False if it ended instead. Raises EmbeddedServerError after that many seconds."""
    deadline = time.monotonic() + within
    while child.alive():
        if _is_ready(data / _LOCK_FILE, child.pid):
            return True
        if time.monotonic() > deadline:
            child.stop()
            raise EmbeddedServerError(
                f"Postgres was not ready in {within:.0f} seconds; its log is {data.parent / 'postgres.log'}."
            )
        time.sleep(0.01)
    return False


def _is_ready(lock_file: Path, pid: int) -> bool:
    try:
        lines = lock_file.read_text("utf-8").splitlines()
    except OSError:
        return False
    return len(lines) > _STATE_LINE and lines[_PID_LINE].strip() == str(pid) and lines[_STATE_LINE].strip() == "ready"
