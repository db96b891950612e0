"""A place where a bridge or web process runs, and runs again after it was killed: same address, same servers, same wires."""

from __future__ import annotations

import signal
from contextlib import suppress
from dataclasses import dataclass, field

from tests.chaos.records import now
from tests.rig import Process, Rig, free_port, ready

Span = tuple[float, float]


@dataclass
class Place:
    """`url` leads straight to it: the streams and /readyz of a web process, /readyz of a bridge."""

    rig: Rig
    name: str
    settings: dict[str, str]
    port: int = field(default_factory=free_port)
    processes: list[Process] = field(default_factory=list)
    _lives: list[list[float]] = field(default_factory=list)
    _frozen: list[list[float]] = field(default_factory=list)

    @property
    def is_web(self) -> bool:
        return self.name.startswith("web")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def process(self) -> Process:
        """The one that runs, or ran last."""
        return self.processes[-1]

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def running(self) -> bool:
        started = self.process.process if self.processes else None
        return started is not None and started.returncode is None

    @property
    def log(self) -> str:
        """What all processes of this place logged."""
        return "".join(process.log for process in self.processes)

    async def start(self, **settings: str) -> None:
        """Start a process here, with these settings over the usual ones; it need not be ready yet."""
        assert not self.running
        chosen = self.settings | settings
        if self.is_web:
            _, started = await self.rig.web_unready(port=self.port, python=None, **chosen)
        else:
            started = await self.rig.bridge(health_bind=f"127.0.0.1:{self.port}", **chosen)
        self.processes.append(started)
        self._lives.append([now(), float("inf")])

    async def begin_anew(self) -> None:
        """Start a process here, in place of the one that may still run."""
        await self.kill()
        await self.start()

    async def kill(self) -> None:
        """SIGKILL."""
        self._ends()
        await self.process.kill()

    def terminate(self) -> None:
        """SIGTERM."""
        self._ends()
        self._send(signal.SIGTERM)

    async def stop(self) -> None:
        """SIGTERM: it must end by itself, with status 0; raises AssertionError with its log.

        One that has said nothing yet, because Python is still starting, may end by the signal.
        """
        early = not self.process.log
        self.terminate()
        assert await self.ended(within=30), f"{self.name} does not end; its log:\n{self.process.log}"
        status = self.process.process.returncode if self.process.process else None
        assert status == 0 or (early and status == -signal.SIGTERM), (
            f"{self.name} ended with {status}; its log:\n{self.process.log}"
        )

    def freeze(self) -> None:
        self._frozen.append([now(), float("inf")])
        self._send(signal.SIGSTOP)

    def thaw(self) -> None:
        self._send(signal.SIGCONT)
        if self._frozen and self._frozen[-1][1] == float("inf"):
            self._frozen[-1][1] = now()

    def _send(self, number: signal.Signals) -> None:
        if self.running:
            with suppress(ProcessLookupError):
                self.process.send(number)

    async def ended(self, *, within: float) -> bool:
        """Wait for it to end by itself; False if it does not."""
        try:
            await self.process.ended(timeout=within)
        except TimeoutError:
            return False
        self._ends()
        return True

    async def ready(self, *, within: float) -> None:
        """Wait until /readyz says yes; raises AssertionError with the log."""
        await ready(self.url, self.process, timeout=within)

    def _ends(self) -> None:
        if self._lives and self._lives[-1][1] == float("inf"):
            self._lives[-1][1] = now()

    def awake(self, *, settles: float = 3.0) -> list[Span]:
        """When a process was here that could answer: neither frozen nor just begun (`settles` seconds)."""
        spans: list[Span] = [(start + settles, end) for start, end in self._lives]
        for began, ended in self._frozen:
            halves = [[(start, min(end, began)), (max(start, ended + settles), end)] for start, end in spans]
            spans = [span for pair in halves for span in pair]
        return [(start, end) for start, end in spans if start < end]
