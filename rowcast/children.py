"""One child process on a leash: it stops when we say so, and also when we are killed without a word.

The leash is a pipe from us to a small shell that watches over the child's pid. End of file on it means that we are gone: the
watcher sends the child's own stop signal, and SIGKILL if that is not heeded. A line on it means that the child has ended, and
the watcher goes too. The child itself waits for a line before it becomes the program, so there is no moment at which it runs
and nobody watches. Works wherever there is a /bin/sh; PR_SET_PDEATHSIG is Linux only and bound to a thread.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_WAIT_FOR_WATCHER = 'read _ && exec "$@"'

# $1 the child, $2 its stop signal; SIGKILL after 10 s. In a session of its own, so that what ends our group leaves it to its work.
_WATCH = """
trap '' INT TERM HUP QUIT
if read _; then exit 0; fi
kill -s "$2" "$1" || exit 0
n=0
while kill -0 "$1" && [ "$n" -lt 10 ]; do sleep 1; n=$((n + 1)); done
kill -s KILL "$1"
"""


@dataclass(frozen=True, slots=True)
class Account:
    """The account a child runs as, when we are root and it must not be."""

    name: str
    uid: int
    gid: int


@dataclass(slots=True)
class Child:
    """A running process. `signals` are tried in order by `stop`, each with the seconds to wait for it; SIGKILL comes after the last."""

    name: str
    process: subprocess.Popen[bytes]
    signals: Sequence[tuple[signal.Signals, float]]
    _watcher: subprocess.Popen[bytes] = field(repr=False)

    @property
    def pid(self) -> int:
        return self.process.pid

    def alive(self) -> bool:
        """Whether it still runs; a child found dead is reaped and its watcher let go."""
        if self.process.poll() is None:
            return True
        self._let_go()
        return False

    def ended(self) -> str:
        """How it ended, for a reader: "exit status 1", "killed by SIGKILL"; "running" while it does."""
        code = self.process.poll()
        if code is None:
            return "running"
        return f"exit status {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"

    def send(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens if the child has ended."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    def tell(self, line: str) -> None:
        """Say one line to a child that listens; the last."""
        _write_line(self.process, line.encode())

    def stop(self) -> None:
        """End it, gently first; returns when it is gone. Safe to call twice."""
        for number, seconds in self.signals:
            if not self.alive():
                return
            self.send(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(seconds)
        if self.alive():
            self.process.kill()
            self.process.wait()
        self._let_go()

    def _let_go(self) -> None:
        _write_line(self._watcher)
        self._watcher.wait()
        if self.process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()


def start_child(
    name: str,
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    signals: Sequence[tuple[signal.Signals, float]],
    log: Path | None = None,
    account: Account | None = None,
    pass_fds: Sequence[int] = (),
    own_session: bool = True,
    cwd: str | None = None,
    listens: bool = False,
) -> Child:
    """Start `command` on a leash, its output appended to `log` (else where ours goes), with `pass_fds` open in it.

    In a session of its own Ctrl-C does not reach it, so that who started it decides on the order in which things stop.
    A child that `listens` hears on its stdin what `tell` says; any other finds nothing there.
    """
    output = None if log is None else os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        process = subprocess.Popen(  # noqa: S603 -- commands of ours, no shell text from outside
            ["/bin/sh", "-c", _WAIT_FOR_WATCHER, name, *command],
            env=dict(env),
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            cwd=cwd,
            pass_fds=pass_fds,
            start_new_session=own_session,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
            umask=0o077 if account else -1,
        )
    finally:
        if output is not None:
            os.close(output)
    child = Child(name, process, signals, _watch(process.pid, signals[0][0]))
    _write_line(process, close=not listens)
    return child


def _write_line(process: subprocess.Popen[bytes], line: bytes = b"", *, close: bool = True) -> None:
    """Let a reader of this process's stdin go on; nothing happens once that is closed."""
    if process.stdin is None or process.stdin.closed:
        return
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(line + b"\n")
        process.stdin.flush()
    if close:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()


def _watch(pid: int, stop: signal.Signals) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603
        ["/bin/sh", "-c", _WATCH, "rowcast-watch", str(pid), stop.name.removeprefix("SIG")],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
