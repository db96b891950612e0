"""Startup: how long `rowcast --help` takes."""

from __future__ import annotations

import subprocess
import sys
import time

from rowcast.bench.figures import Outcome, at_most
from rowcast.bench.reckoning import median
from rowcast.bench.site import Site
from rowcast.bench.sizes import Sizes

_MS = 1000


def measure(_: Site, sizes: Sizes, rounds: int) -> Outcome:
    """A few a round, one after the other."""
    found = Outcome("startup", "rowcast --help, from its start to its end")
    found.add(
        "rowcast --help", "ms", [median(_help() for _ in range(sizes.help_tries)) for _ in range(rounds)], at_most(250)
    )
    return found


def _help() -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "rowcast", "--help"], stdout=subprocess.DEVNULL, check=True)
    return (time.perf_counter() - began) * _MS
