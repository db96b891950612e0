"""`python -m tests.chaos`: break everything by a schedule drawn from a seed, and tell what was broken of what is promised."""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from tests.chaos.faults import FAULTS
from tests.chaos.play import Played, play, shortest
from tests.chaos.schedule import Schedule, draw, draw_shape, draw_soak
from tests.parts import ROOT

RESULTS = ROOT / "test-results"
# What a long run lives with all day; nothing that Postgres itself forgets or fails by.
LIGHT = ["kill", "reset", "delay", "slice", "cut", "kill_clients", "end_sessions", "freeze", "long_transaction"]


def main() -> int:
    """0: every promise was kept. 1: one was broken; what, where the records are, and the shortest schedule found are told."""
    options = _options()
    schedule = _schedule(options)
    _say(f"seed {schedule.seed}, {schedule.seconds:g} s, {len(schedule.faults)} faults on {schedule.shape}")
    folder = RESULTS / f"chaos-{schedule.seed}-{datetime.now(UTC):%H%M%S}"
    rate = options.rate or (2.0 if options.soak else 12.0 if schedule.seconds <= 120 else 6.0)
    played = asyncio.run(play(schedule, folder, _say, rate=rate, root=options.root))
    _tell(schedule, played)
    if not played.violations:
        return 0
    if options.shrink and len(schedule.faults) > 1:
        schedule = asyncio.run(shortest(schedule, played, options.shrink_seconds, _say, rate=rate, root=options.root))
    kept = RESULTS / f"chaos-{schedule.seed}.json"
    kept.write_text(schedule.to_json())
    _say(f"\nseed {schedule.seed}; the shortest schedule found, of {len(schedule.faults)} faults, is in {kept}")
    _say(f"again: python -m tests.chaos --schedule {kept}")
    return 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=None, help="what all chance is drawn from (default: any, and told)")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long faults go on (default %(default)s)")
    parser.add_argument("--schedule", type=Path, help="play the schedule in this file instead")
    parser.add_argument("--only", default="", help="draw of these kinds of faults alone, by name, with commas")
    parser.add_argument("--soak", action="store_true", help="rolling restarts and light faults instead")
    parser.add_argument("--rate", type=float, default=None, help="transactions a second of each of 8 writers")
    parser.add_argument("--no-shrink", dest="shrink", action="store_false", help="look for no shorter schedule")
    parser.add_argument("--shrink-seconds", type=float, default=600.0, help="for how long (default %(default)s)")
    parser.add_argument("--root", type=Path, default=ROOT, help="another checkout, whose code is to run")
    return parser.parse_args()


def _schedule(options: argparse.Namespace) -> Schedule:
    if options.schedule:
        return Schedule.from_json(options.schedule.read_text())
    seed = options.seed if options.seed is not None else random.randrange(10**6)
    shape = draw_shape(seed)
    if options.soak:
        return draw_soak(seed, options.seconds, shape, FAULTS, LIGHT)
    only = set(filter(None, options.only.split(",")))
    return draw(seed, options.seconds, shape, {name: kind for name, kind in FAULTS.items() if not only or name in only})


def _tell(schedule: Schedule, played: Played) -> None:
    _say(f"\nseed {schedule.seed} on {schedule.shape}")
    for name, value in played.figures:
        _say(f"  {name:<34} {value}")
    counted = Counter(fault.name for fault in schedule.faults)
    _say(f"  {'kinds of faults':<34} {', '.join(f'{count} {name}' for name, count in sorted(counted.items()))}")
    _say(f"  {'violations':<34} {len(played.violations)}")
    for violation in played.violations:
        _say(f"BROKEN  {violation.promise}: {violation.what}")
    _say(f"records and logs: {played.folder}")


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 -- a command's output


if __name__ == "__main__":
    sys.exit(main())
