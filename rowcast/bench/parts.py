"""The processes that are measured: bridge and web as an operator starts them, and what they are compared with; their CPU and memory."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import psutil

from core.errors import RowcastError
from core.supervise import bare_errors
from rowcast.bench.reckoning import NS
from rowcast.children import Child, start_child
from rowcast.readiness import wait_until_ready
from rowcast.sockets import Bind, http_address, listen
from rowcast.workers import STOP, WORKER, web_arguments

_READY_WITHIN = 60.0
_SAMPLE_EVERY = 0.05
_numbers = count()


@dataclass(frozen=True, slots=True)
class Part:
    """One running process; `url` is where it serves."""

    name: str
    child: Child
    url: str = ""

    def cpu(self) -> float:
        """Seconds of CPU that it has used."""
        with contextlib.suppress(OSError, IndexError):
            return sum(map(_ran, Path(f"/proc/{self.child.pid}/task").iterdir()))
        used = psutil.Process(self.child.pid).cpu_times()
        return float(used.user + used.system)

    def memory(self) -> int:
        """Bytes of memory that it holds."""
        return int(psutil.Process(self.child.pid).memory_info().rss)

    def require_alive(self) -> None:
        """Raise RowcastError if it has ended: then there is nothing to measure."""
        if not self.child.alive():
            raise RowcastError(f"{self.name} ended ({self.child.ended()}) while it was measured.")


def _ran(thread: Path) -> float:
    """Seconds on a core, as Linux counts them to the nanosecond; psutil has hundredths of a second."""
    return int((thread / "schedstat").read_text().split()[0]) / NS


@contextlib.contextmanager
def running(
    name: str, arguments: Sequence[str], environment: Mapping[str, str], folder: Path, *, serves: bool = False
) -> Iterator[Part]:
    """A process of `arguments` (of Python), in which `{fds}` stands for a listening socket if it `serves`; stopped at the end."""
    with contextlib.ExitStack() as undo:
        sockets = listen(Bind("127.0.0.1:0", ((socket.AF_INET, ("127.0.0.1", 0)),))) if serves else []
        for one in sockets:
            undo.enter_context(one)
        fds = [one.fileno() for one in sockets]
        bind = "fd://" + ",".join(map(str, fds))
        command = [sys.executable, "-P", *(one.replace("{fds}", bind) for one in arguments)]
        log = folder / f"{name}-{os.getpid()}-{next(_numbers)}.log"
        child = start_child(name, command, env=environment, signals=STOP, log=log, pass_fds=fds)
        undo.callback(child.stop)
        part = Part(name, child, http_address(sockets[0]) if sockets else "")
        for one in sockets:
            one.close()
        if serves:
            _wait(part, log)
        yield part


def bridge(environment: Mapping[str, str], folder: Path) -> contextlib.AbstractContextManager[Part]:
    """`rowcast bridge`."""
    return running("bridge", [*WORKER[2:], "bridge"], environment, folder)


def web(environment: Mapping[str, str], folder: Path) -> contextlib.AbstractContextManager[Part]:
    """`rowcast web`, once it is ready to serve: with a bridge that leads, that is."""
    return running("web", [*WORKER[2:], *web_arguments([])[:1], "--bind", "{fds}"], environment, folder, serves=True)


def rival(
    module: str, environment: Mapping[str, str], folder: Path, *more: str
) -> contextlib.AbstractContextManager[Part]:
    """A server that is compared with ours: `python -m rowcast.bench.rivals.<module>`."""
    return running(module, ["-m", f"rowcast.bench.rivals.{module}", "{fds}", *more], environment, folder, serves=True)


def _wait(part: Part, log: Path) -> None:
    try:
        with bare_errors():
            asyncio.run(_ready(part))
    except RowcastError as error:
        raise RowcastError(f"{part.name}: {error}\n{_end(log)}") from error


async def _ready(part: Part) -> None:
    async with asyncio.TaskGroup() as tasks:
        ended = tasks.create_task(_until_ended(part), name="until it ended")
        await wait_until_ready(part.url, within=_READY_WITHIN)
        ended.cancel()


async def _until_ended(part: Part) -> None:
    while True:
        part.require_alive()
        await asyncio.sleep(_SAMPLE_EVERY)


def _end(log: Path) -> str:
    return "\n".join(log.read_text("utf-8", "replace").splitlines()[-5:]) if log.is_file() else ""


class Peak:
    """The most memory that a part held while the block ran, in bytes, and what it held before."""

    def __init__(self, part: Part) -> None:
        self._part = part
        self.before = self.most = part.memory()
        self._over = threading.Event()

    @property
    def grown(self) -> int:
        return self.most - self.before

    def __enter__(self) -> Peak:
        self._thread = threading.Thread(target=self._look, name="memory", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(_SAMPLE_EVERY):
            with contextlib.suppress(psutil.NoSuchProcess):
                self.most = max(self.most, self._part.memory())
