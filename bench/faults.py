"""What each kind of fault costs writers, and how soon all is well again: `make bench ARGS=--faults`.

Every round is a quiet stretch, then the fault, then the time until all is well, on one Rowcast that runs through: with and without a fault
compare in one run. What is measured how: `bench.costs`. Left out are faults of Postgres itself, by which inserts fail with or without Rowcast.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.costs import Cost, Round, costs, records, table
from bench.steady import SteadyConfig
from tests.chaos.clients import ClientsConfig
from tests.chaos.ensemble import Ensemble, ensemble
from tests.chaos.faults import FAULTS
from tests.chaos.parts import part
from tests.chaos.records import now
from tests.servers import folder

ROUNDS, SECONDS = 3, 5.0
USERS, CLIENTS = list(range(1, 7)), 12
WARMS_UP = 5.0
SETTLES = 2.0  # seconds from everybody's being ready, and from the clients' new choice, to what comes next
LEADER = "the leader"


@dataclass(frozen=True, slots=True)
class Kind:
    """A fault as the table names it, made of one of `tests.chaos.faults` or of several at once, each with its arguments."""

    name: str
    parts: Sequence[tuple[str, dict[str, Any]]]


def _on(fault: str, of: str, to: str, **arguments: Any) -> list[tuple[str, dict[str, Any]]]:
    """The same fault on the ways of both processes of a kind; on those of all if `of` is ""."""
    places = [f"{place}{number}" for place in ("bridge", "web") for number in (0, 1) if place.startswith(of)]
    return [(fault, {"wire": f"{place}-{to}", **arguments}) for place in places]


def kinds(seconds: float) -> list[Kind]:
    """All kinds, in the order of the table. A pause of Redis has to be told its length beforehand."""
    return [
        Kind("leading bridge killed", [("kill", {"place": LEADER})]),
        Kind("both bridges killed", [("kill", {"place": "bridge0"}), ("kill", {"place": "bridge1"})]),
        Kind("leading bridge frozen", [("freeze_leader", {})]),
        Kind("bridges and Postgres: all bytes lost", _on("black_hole", "bridge", "postgres", lost="all")),
        Kind("doorbell's session ended every 100 ms", [("end_sessions", {"name": "rowcast-listen", "every": 0.1})]),
        Kind("doorbell's session frozen in Postgres", [("freeze_sessions", {"name": "rowcast-listen"})]),
        Kind("Redis killed, then empty", [("kill_redis", {"begins": "empty"})]),
        Kind("Redis frozen", [("freeze_redis", {})]),
        Kind("Redis paused (CLIENT PAUSE)", [("pause_redis", {"mode": "ALL", "seconds": seconds})]),
        Kind("Redis refuses connections", _on("refuse", "", "redis")),
        Kind("way to Redis 1 s longer", _on("delay", "", "redis", seconds=1.0)),
        Kind("way to Redis of 10 kB/s", _on("throttle", "", "redis", rate=10_000)),
        Kind("one of two web processes killed", [("kill", {"place": "web0"})]),
        Kind("one of two web processes frozen", [("freeze", {"place": "web0"})]),
        Kind("web and Redis: all bytes lost", _on("black_hole", "web", "redis", lost="all")),
        Kind("web and Postgres: refused", _on("refuse", "web", "postgres")),
        Kind(
            "all clients cut off, once a second", [("reset", {"wire": f"clients-web{n}", "every": 1.0}) for n in (0, 1)]
        ),
        Kind("everything restarted in turn", [("restart_all", {"order": ["bridge0", "web0", "bridge1", "web1"]})]),
    ]


async def measure(rounds: int, seconds: float, only: str) -> tuple[list[Round], list[Cost]]:
    """Inflict every kind whose name contains `only`; the rounds and what each cost."""
    chosen = [kind for kind in kinds(seconds) if only in kind.name]
    with folder() as books:
        writers, clients = books / "writers.jsonl", books / "clients.jsonl"
        async with ensemble(flushes=True) as e, _load(e, writers, clients):
            await asyncio.sleep(WARMS_UP)
            played = [await _play(e, kind, seconds) for kind in chosen for _ in range(rounds)]
            end = now()
            await asyncio.sleep(SETTLES)
        owed = Counter(USERS[number % len(USERS)] for number in range(CLIENTS))
        return played, costs(played, records(writers, clients, owed), end)


@asynccontextmanager
async def _load(e: Ensemble, writers: Path, clients: Path) -> AsyncIterator[None]:
    """Clients that stay, with the patience of a browser, and writers at their pace; both end in order, so a broken one is heard of."""
    listening = ClientsConfig(
        0, e.client_urls, USERS, USERS[0], str(clients), 0.0, clients=CLIENTS, quiet=3600.0, leavers=0.0
    )
    writing = SteadyConfig(e.writer_url, USERS, str(writers))
    async with part("tests.chaos.clients", listening) as reader, part("bench.steady", writing) as writer:
        yield
        await writer.end()
        await reader.end()


async def _play(e: Ensemble, kind: Kind, seconds: float) -> Round:
    """One round; a fault that takes longer to inflict lasts longer."""
    print(f"{kind.name} …", file=sys.stderr, flush=True)  # noqa: T201 -- a command's output
    await _spread_clients(e)
    quiet = now()
    await asyncio.sleep(seconds)
    leader = (await e.leader() or e.bridges[0]).name
    began = now()
    async with AsyncExitStack() as stack:
        for name, arguments in kind.parts:
            given = {key: leader if value == LEADER else value for key, value in arguments.items()}
            await stack.enter_async_context(FAULTS[name](e, **given))
        await asyncio.sleep(max(0.0, began + seconds - now()))
    ended = now()
    await e.quiet()
    ready = now()
    await asyncio.sleep(SETTLES)
    return Round(kind.name, quiet, began, ended, ready)


async def _spread_clients(e: Ensemble) -> None:
    """Have them choose a web process anew: a fault of one has driven all to the other."""
    for web in e.webs:
        e.wires[f"clients-{web.name}"].reset()
    await asyncio.sleep(SETTLES)


def main(rounds: int, seconds: float, only: str) -> None:
    """Measure and print."""
    print("\n".join(table(*asyncio.run(measure(rounds, seconds, only)))), flush=True)  # noqa: T201 -- a command's output
