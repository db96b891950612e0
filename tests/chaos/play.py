"""Plays a schedule from nothing to its verdict; and finds a shorter one that still fails."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.chaos.ensemble import Ensemble, ensemble
from tests.chaos.evidence import Evidence, Violation
from tests.chaos.faults import FAULTS
from tests.chaos.run import Run
from tests.chaos.schedule import Planned, Schedule
from tests.chaos.shrink import shrink
from tests.chaos.verdict import figures, held, judged
from tests.parts import ROOT

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Played:
    """What a run showed, and the folder of its records and logs."""

    evidence: Evidence
    violations: list[Violation]
    figures: list[tuple[str, str]]
    folder: Path


async def play(schedule: Schedule, folder: Path, say: Say, *, rate: float = 12.0, root: Path = ROOT) -> Played:
    """One run; its records and the logs of all processes are left in `folder`. `root`: another checkout, whose code is to run."""
    folder.mkdir(parents=True)
    (folder / "schedule.json").write_text(schedule.to_json())
    async with ensemble(**asdict(schedule.shape), root=root) as e:
        try:
            books = await Run(e, schedule, FAULTS, folder, say=say, rate=rate).run()
        finally:
            _keep_logs(e, folder)
    evidence, violations = await asyncio.to_thread(judged, books)
    return Played(evidence, violations, figures(evidence) + held(books, evidence), folder)


def _keep_logs(e: Ensemble, folder: Path) -> None:
    for place in e.places.values():
        (folder / f"{place.name}.log").write_text(place.log)
    for server in (e.postgres.primary, e.postgres.standby, e.redis.primary, e.redis.replica):
        if server.server is not None:
            (folder / f"{server.state.name}.{server.server.log.name}").write_bytes(server.server.log.read_bytes())


async def shortest(
    schedule: Schedule, first: Played, budget: float, say: Say, *, rate: float = 12.0, root: Path = ROOT
) -> Schedule:
    """The shortest schedule found in about `budget` seconds that breaks a promise that the first run saw broken."""
    promises = {violation.promise for violation in first.violations}
    until = time.monotonic() + budget
    tries = 0

    async def fails(faults: list[Planned]) -> bool:
        nonlocal tries
        tries += 1
        folder = first.folder.with_name(f"{first.folder.name}-shrink-{tries}")
        again = await play(schedule.with_faults(faults), folder, lambda _: None, rate=rate, root=root)
        broken = promises & {violation.promise for violation in again.violations}
        say(f"with {len(faults)} of {len(schedule.faults)} faults: {', '.join(sorted(broken)) or 'nothing'} broken")
        return bool(broken)

    faults = await shrink(schedule.faults, fails, lambda: time.monotonic() < until)
    return schedule.with_faults(faults) if len(faults) < len(schedule.faults) else schedule
