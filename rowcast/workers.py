"""`rowcast web --workers N`: N children that serve the same listening sockets, each replaced when it ends."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import Sequence

import structlog

from core.clock import SystemClock
from rowcast.children import Child, start_child
from rowcast.keeper import Keeper, Place
from rowcast.settings import Settings

_log = structlog.get_logger("web")

# A worker drains in less; the whole must end within 5 s.
STOP = ((signal.SIGTERM, 4.5),)
# Another one of us. -P: no folder of the user's may stand in for a package of ours.
WORKER = (sys.executable, "-P", "-m", "rowcast")


def web_arguments(sockets: Sequence[socket.socket]) -> list[str]:
    """The arguments of `rowcast` for a process that serves these sockets, which it must inherit."""
    return ["web", "--bind", "fd://" + ",".join(str(one.fileno()) for one in sockets)]


async def run_workers(settings: Settings, sockets: list[socket.socket]) -> None:
    """Keep `settings.workers` workers until cancelled; then they drain, all at once, and are gone when this returns."""
    keeper = Keeper(SystemClock(), lambda line: _log.warning("web.worker_ended", what=line), lambda: None)
    places = [_place(settings, sockets, number) for number in range(1, settings.workers + 1)]
    async with keeper.watching():
        try:
            async with asyncio.TaskGroup() as group:
                for place in places:
                    await keeper.fill(place)
                    group.create_task(keeper.keep(place), name=f"keep {place.name}")
        finally:
            async with asyncio.TaskGroup() as group:
                for place in places:
                    group.create_task(keeper.empty(place), name=f"stop {place.name}")


def _place(settings: Settings, sockets: list[socket.socket], number: int) -> Place:
    name = f"worker {number}"
    command = [*WORKER, *web_arguments(sockets)]
    fds = [one.fileno() for one in sockets]

    def start() -> Child:
        env = settings.child_environment(workers=1)
        return start_child(name, command, env=env, signals=STOP, pass_fds=fds, own_session=False)

    return Place(name, start)
