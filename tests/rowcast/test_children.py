"""A child on a leash ends when we say so, and when we are killed without a word."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from rowcast.children import Child, start_child
from tests.rowcast.ups import eventually, gone

STOP = ((signal.SIGTERM, 5.0),)
STUBBORN = "trap '' TERM; while :; do sleep 1; done"


def start(command: str, *, signals: tuple[tuple[signal.Signals, float], ...] = STOP, log: Path | None = None) -> Child:
    return start_child("test", ["/bin/sh", "-c", command], env={"PATH": os.environ["PATH"]}, signals=signals, log=log)


def test_stop_sends_the_childs_own_signal_and_waits() -> None:
    child = start("trap 'exit 7' INT; while :; do sleep 0.1; done", signals=((signal.SIGINT, 5.0),))
    eventually(lambda: "sleep" in [process.name() for process in psutil.Process(child.pid).children()])
    assert child.alive()
    child.stop()
    assert not child.alive()
    assert child.ended() == "exit status 7"
    child.stop()


def test_stop_kills_what_does_not_heed() -> None:
    child = start(STUBBORN, signals=((signal.SIGTERM, 0.3),))
    eventually(lambda: psutil.Process(child.pid).children())
    child.stop()
    assert child.ended() == "killed by SIGKILL"


def test_a_child_that_ended_leaves_no_watcher(tmp_path: Path) -> None:
    before = psutil.Process().children()
    child = start("echo out; echo err >&2; exit 3", log=tmp_path / "log")
    eventually(lambda: not child.alive())
    assert child.ended() == "exit status 3"
    assert psutil.Process().children() == before
    assert (tmp_path / "log").read_text() == "out\nerr\n"


def test_a_child_finds_nothing_on_stdin_unless_it_listens() -> None:
    deaf = start("read line; echo $?; exit 4")
    eventually(lambda: not deaf.alive())
    command = ["/bin/sh", "-c", 'read line && test "$line" = hello && exit 5']
    child = start_child("test", command, env={}, signals=STOP, listens=True)
    child.tell("hello")
    eventually(lambda: not child.alive())
    assert child.ended() == "exit status 5"


@pytest.mark.parametrize("command", ["exec sleep 1000", pytest.param(STUBBORN, marks=pytest.mark.slow)])
def test_nothing_outlives_a_parent_that_was_killed(command: str) -> None:
    code = f"""
import os, signal
from rowcast.children import start_child
child = start_child("test", ["/bin/sh", "-c", {command!r}], env=dict(os.environ), signals=((signal.SIGTERM, 5.0),))
print(child.pid, flush=True)
signal.pause()
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        everything = psutil.Process(parent.pid).children(recursive=True)
        parent.kill()
    assert child in everything
    assert gone(everything, within=20)
