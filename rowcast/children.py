"""One child process on a leash: it stops when we say so, and also when we are killed without a word.

The leash is a pipe from us to a one-line shell that is started in the same breath as the child (the shell forks, the parent
half becomes the child by `exec`), so there is no moment at which the child runs and nobody watches. End of file on the pipe
means that we are gone: the watcher then sends the child's own stop signal, and SIGKILL if that is not heeded. A line on the
pipe means that the child has ended, and the watcher goes too. Works wherever there is a /bin/sh; PR_SET_PDEATHSIG is Linux
only and bound to a thread.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

# Seconds that the watcher of a dead parent gives the child before SIGKILL.
_LAST_RESORT = 10

# $1 is the signal, $2 the seconds before SIGKILL, the rest the command. The subshell in a subshell leaves the watcher to init, so
# that the child has no child it knows nothing of; `$$` stays the pid that `exec` gives to the child. Fd 3 is the leash.
_LEASH = """
exec 3<&0 </dev/null
( ( trap '' INT TERM HUP QUIT
    if read _ <&3; then exit 0; fi
    kill -s "$1" $$; n=0
    while kill -0 $$ && [ "$n" -lt "$2" ]; do sleep 1; n=$((n + 1)); done
    kill -s KILL $$ ) >/dev/null 2>&1 & )
exec 3<&-
shift 2
exec "$@"
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
    _leash: int = field(repr=False)

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
        leash, self._leash = self._leash, -1
        if leash >= 0:
            with contextlib.suppress(BrokenPipeError):
                os.write(leash, b"\n")
            os.close(leash)


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
) -> Child:
    """Start `command` on a leash, its output appended to `log` (else where ours goes), with `pass_fds` open in it.

    In a session of its own Ctrl-C does not reach it, so that who started it decides on the order in which things stop.
    """
    reading, writing = os.pipe()
    output = None if log is None else os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        process = subprocess.Popen(  # noqa: S603 -- commands of ours, no shell text from outside
            ["/bin/sh", "-c", _LEASH, name, signals[0][0].name.removeprefix("SIG"), str(_LAST_RESORT), *command],
            env=dict(env),
            stdin=reading,
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
    except BaseException:
        os.close(writing)
        raise
    finally:
        os.close(reading)
        if output is not None:
            os.close(output)
    return Child(name, process, signals, writing)
