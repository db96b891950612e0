"""What readers that read nothing cost those who read: `python -m bench.slow_readers`.

On one Rowcast with 2,000 streams that are read, rows for single users at a steady pace. Each round is the same number of rows without and then
with 500 more streams, of one user with a long history, whose clients take a byte a second each or none. What counts is the time from the
INSERT to the reading client, and until the server has freed all the others, down to the kernel; both from when they all wait.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import statistics
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

import psutil

from bench.crowd import Crowd
from tests.db.databases import Databases
from tests.rig import Rig, rig
from tests.servers import embedded_postgres, embedded_valkey

READ, STUCK = 2000, 500
PACE = 0.04  # seconds from row to row
SECONDS = 20.0
LOOK = 4  # seconds between looks at the kernel's queues
GREEDY = 1  # the user with the long history
_INSERT = "INSERT INTO notifications (user_id, message) VALUES (%s, %s)"
_HISTORY = "INSERT INTO notifications (user_id, message) SELECT %s, repeat('x', 10000) FROM generate_series(1, 30)"


@dataclass
class Figures:
    """Milliseconds of each row; what the stuck ones held at most; seconds until the last was freed."""

    without: list[float] = field(default_factory=list)
    beside: list[float] = field(default_factory=list)
    freed: list[float] = field(default_factory=list)
    kernel: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)


async def measure(own: Rig, rounds: int, server: str) -> Figures:
    """All rounds on one web process."""
    found = Figures()
    url, web = await own.web(server=server)
    port = int(url.rpartition(":")[2])
    try:
        with Crowd(port) as crowd:
            await asyncio.to_thread(crowd.open, READ)
            await _rows(own, crowd, 3.0)
            for _ in range(rounds):
                found.without += await _rows(own, crowd, SECONDS)
                before = psutil.Process(web.pid).memory_info().rss
                with ExitStack() as ends:
                    stuck = await asyncio.to_thread(lambda: [ends.enter_context(_stuck(port)) for _ in range(STUCK)])
                    await _until_stuck(stuck, port)
                    began = time.perf_counter()
                    async with asyncio.TaskGroup() as tasks:
                        reading = tasks.create_task(_rows(own, crowd, SECONDS))
                        held = await _until_freed(stuck, port, web.pid)
                        found.freed.append(time.perf_counter() - began)
                    found.beside += reading.result()
                    found.kernel.append(held[0] / STUCK / 1024)
                    found.memory.append((held[1] - before) / STUCK / 1024)
    finally:
        await web.kill()
    return found


async def _rows(own: Rig, crowd: Crowd, seconds: float) -> list[float]:
    took = []
    async with own.sql() as sql:
        for number in range(int(seconds / PACE)):
            began = time.perf_counter()
            await sql.execute(_INSERT, (crowd.first + number % READ, f"row {number}"))
            await asyncio.to_thread(crowd.events, 1)
            took.append((time.perf_counter() - began) * 1000)
            await asyncio.sleep(max(0.0, PACE - (time.perf_counter() - began)))
    return took


def _stuck(port: int) -> socket.socket:
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    made.connect(("127.0.0.1", port))
    made.sendall(f"GET /events/{GREEDY}?since=all HTTP/1.1\r\nHost: bench\r\n\r\n".encode())
    made.setblocking(False)
    return made


async def _until_stuck(stuck: list[socket.socket], port: int) -> None:
    """Opening so many with their backlogs is a burst of its own, and not what is asked here."""
    clients = {made.getsockname()[1] for made in stuck}
    while sum(queued > 1 << 15 for queued in _queues(port, clients)) < STUCK * 0.95:  # noqa: ASYNC110 -- the kernel tells nobody
        await asyncio.sleep(0.1)


async def _until_freed(stuck: list[socket.socket], port: int, web: int) -> tuple[int, int]:
    """Read a byte a second of every other one; the most that the kernel held for all of them, and the process."""
    clients = {made.getsockname()[1] for made in stuck}
    kernel = memory = 0
    while queues := _queues(port, clients):
        kernel, memory = max(kernel, sum(queues)), max(memory, psutil.Process(web).memory_info().rss)
        for _ in range(LOOK):  # to read them all takes a while, in which rows that come are not seen
            _read_a_byte_of_each(stuck[::2])
            await asyncio.sleep(1.0)
    return kernel, memory


def _read_a_byte_of_each(readers: list[socket.socket]) -> None:
    for made in readers:
        with suppress(BlockingIOError, ConnectionResetError):
            made.recv(1)


def _queues(port: int, clients: set[int]) -> list[int]:
    """The send queues of the server's ends of these, whoever holds them: orphans of the kernel count."""
    found = []
    with open("/proc/net/tcp") as lines:  # noqa: PTH123
        for words in (line.split() for line in lines):
            if words[1].endswith(f":{port:04X}") and int(words[2].partition(":")[2], 16) in clients:
                found.append(int(words[4].partition(":")[0], 16))
    return found


def p99(values: list[float]) -> float:
    """The value that 99 of 100 do not exceed."""
    return sorted(values)[max(0, -(-len(values) * 99 // 100) - 1)]


async def measure_all(rounds: int, server: str) -> list[str]:
    """Lines of a table, as Markdown."""
    with embedded_postgres() as postgres, embedded_valkey() as valkey, Databases(postgres.url).migrated() as url:
        async with rig(url, valkey.url, prefix="bench") as own:
            await own.bridge()
            async with own.sql() as sql:
                await sql.execute(_HISTORY, (GREEDY,))
            found = await measure(own, rounds, server)
    one, two = found.without, found.beside
    return [
        f"| {server} | without | beside {STUCK} stuck | ratio |",
        "|---|---:|---:|---:|",
        *(
            f"| INSERT to client, {name} (ms) | {of(one):.1f} | {of(two):.1f} | {of(two) / of(one):.2f} |"
            for name, of in (("p50", statistics.median), ("p99", p99))
        ),
        f"| until the last stuck one is freed (s) | | {max(found.freed):.1f} | |",
        f"| in the kernel for each (KiB) | | {max(found.kernel):.0f} | |",
        f"| in the process for each (KiB) | | {max(found.memory):.0f} | |",
    ]


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(prog="python -m bench.slow_readers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (default %(default)s)")
    parser.add_argument("--server", default="hypercorn", help="hypercorn or uvicorn")
    arguments = parser.parse_args()
    for line in asyncio.run(measure_all(arguments.rounds, arguments.server)):
        print(line, flush=True)  # noqa: T201 -- a command's output


if __name__ == "__main__":
    main()
