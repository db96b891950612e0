"""A `rowcast up` of a test's own, started as a user starts it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests import leaks

READY_WITHIN = 60.0


def environment(**changes: str) -> dict[str, str]:
    """Ours without any setting of Rowcast or Postgres."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ROWCAST_", "PG"))}
    return kept | changes


def rowcast(*arguments: str, cwd: Path, timeout: float = 60, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "rowcast", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=environment(**env),
        timeout=timeout,
        check=False,
    )


def eventually(look: Callable[[], Any], *, within: float = 20.0) -> Any:
    """What `look` returns once that is true; it is about other processes, which can't call us."""
    deadline = time.monotonic() + within
    never = threading.Event()
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within {within} seconds"
        never.wait(0.02)
    return found


class Up:
    """One run of `rowcast up` in `folder`. What it prints is collected in `lines`."""

    def __init__(self, folder: Path, *arguments: str, **env: str) -> None:
        self.folder = folder
        self.ready_file = folder / "ready.json"
        self.lines: list[str] = []
        self._printed = threading.Condition()
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "rowcast", "up", "--ready-file", "ready.json", "--port", "0", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=folder,
            env=environment(**env),
        )
        self._reader = threading.Thread(target=self._read, name="reader of up")
        self._reader.start()

    def wait_ready(self) -> dict[str, Any]:
        """The content of the ready file, once `up` says that it is up."""
        self.said("Rowcast is up")
        return self.report()

    def report(self) -> dict[str, Any]:
        report: dict[str, Any] = json.loads(self.ready_file.read_text())
        return report

    def said(self, text: str) -> str:
        """The first line with `text` in it; waits for it."""
        with self._printed:
            found = self._printed.wait_for(lambda: self._line(text) or not self._reader.is_alive(), READY_WITHIN)
        line = self._line(text)
        assert found, f"up never said {text!r}; it said {self.lines}"
        assert line, f"up never said {text!r}; it said {self.lines}"
        return line

    def everything(self) -> list[psutil.Process]:
        """All processes that are there because of this `up`: itself, its children, theirs, and the watchers."""
        own = psutil.Process(self.process.pid)
        return [own, *own.children(recursive=True)]

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        """Send a signal and wait for the end; the exit status."""
        self.process.send_signal(number)
        status = self.process.wait(30)
        self._reader.join(30)
        return status

    def _line(self, text: str) -> str | None:
        return next((line for line in self.lines if text in line), None)

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout:
            for line in self.process.stdout:
                with self._printed:
                    self.lines.append(line)
                    self._printed.notify_all()
        with self._printed:
            self._printed.notify_all()
        # What it says to its user has passwords on purpose, in lines to paste.
        leaks.look(leaks.events("\n".join(self.lines)), {}, "up")


@contextmanager
def up(folder: Path, *arguments: str, **env: str) -> Iterator[Up]:
    """An `up` that is ended in the end, whatever the test did to it."""
    started = Up(folder, *arguments, **env)
    try:
        yield started
    finally:
        if started.process.poll() is None:
            started.end(signal.SIGTERM)
        started._reader.join(30)


def gone(processes: list[psutil.Process], *, within: float = 15.0) -> bool:
    """Whether all of these ended in time (one that only waits to be reaped by init has)."""

    def left() -> list[psutil.Process]:
        return [process for process in processes if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]

    def none_left() -> bool:
        try:
            return not left()
        except psutil.NoSuchProcess:
            return False

    return bool(eventually(none_left, within=within))


def answers(url: str) -> bool:
    """Whether the web at `url` is ready."""
    try:
        return httpx.get(f"{url}/readyz", trust_env=False, timeout=5).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False
