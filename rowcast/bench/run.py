"""`rowcast bench`: the measurements asked for, one after the other, on one machine in one run."""

from __future__ import annotations

import importlib
import time
from collections.abc import Sequence

from rowcast.bench.endings import end_on_signals
from rowcast.bench.figures import Outcome, Report
from rowcast.bench.machine import machine, raise_descriptor_limit, versions
from rowcast.bench.site import Say, Site, site
from rowcast.bench.sizes import QUICK, Sizes
from rowcast.bench.tables import outcome_lines
from rowcast.serving import require_server
from rowcast.settings import Settings


def run(settings: Settings, names: Sequence[str], *, rounds: int, quick: bool, say: Say) -> Report:
    """Measure and tell; what was made is gone when this returns, also after Ctrl-C (KeyboardInterrupt). Raises RowcastError."""
    require_server(settings.server)
    raise_descriptor_limit()
    end_on_signals()
    sizes = QUICK if quick else Sizes()
    with site(settings, say) as place:
        report = Report(machine(place), versions(place), rounds, quick)
        say(_heading(report))
        for name in names:
            report.outcomes.append(_one(place, name, sizes, rounds, say))
    return report


def _one(place: Site, name: str, sizes: Sizes, rounds: int, say: Say) -> Outcome:
    began = time.monotonic()
    say(f"\n{name} …")
    module = importlib.import_module(f"rowcast.bench.measurements.{name}")
    outcome: Outcome = module.measure(place, sizes, rounds)
    for line in outcome_lines(outcome, quick=sizes is QUICK):
        say(line)
    say(f"  took {time.monotonic() - began:.0f} s")
    return outcome


def _heading(report: Report) -> str:
    parts = [f"{report.machine['cores']} cores, {report.machine['cpu']}, {report.machine['system']}"]
    parts += [f"{report.machine['servers']}; {report.machine['http server']}", report.machine["load"]]
    parts.append(", ".join(f"{name} {number}" for name, number in report.versions.items()))
    parts.append(f"Median (lowest to highest) of {report.rounds} rounds.")
    return "\n".join(parts)
