"""`python -m tests.machine`: explores every configuration; or switches each rule off in turn, and says how short a trace breaks the promise."""

from __future__ import annotations

import argparse
import sys

from tests.machine.configurations import BROKEN_IN, CONFIGURATIONS, named
from tests.machine.explore import Explored, explore
from tests.machine.rules import ALL, NAMES, told


def main() -> int:
    """Exit status 1 if a promise was broken, or a rule could be switched off and nobody noticed."""
    parser = argparse.ArgumentParser(prog="python -m tests.machine", description=__doc__)
    parser.add_argument("--small", action="store_true", help="within the smaller bounds, in some seconds")
    parser.add_argument("--rules", action="store_true", help="switch each rule off instead")
    parser.add_argument("--trace", action="store_true", help="print how, for each rule")
    options = parser.parse_args()
    return _switch_off(trace=options.trace) if options.rules else _explore(small=options.small)


def _explore(*, small: bool) -> int:
    broken = 0
    for configuration in CONFIGURATIONS:
        size = configuration.usual if small else configuration.larger
        explored = explore(size.build(ALL))
        figures = f"{explored.states:,} | {explored.transitions:,} | {explored.seconds:.1f} s"
        _say(f"| {configuration.name} | {size.bounds} | {figures} | {'broken' if explored.found else 'holds'} |")
        _tell(explored)
        broken += explored.found is not None
    return 1 if broken else 0


def _switch_off(*, trace: bool) -> int:
    missed = 0
    for name in NAMES:
        explored = explore(named(BROKEN_IN[name]).usual.build(ALL.without(name)))
        steps = len(explored.found.trace) if explored.found else "NOT FOUND"
        _say(f"| {told(name)} | {BROKEN_IN[name]} | {steps} |")
        missed += explored.found is None
        if trace:
            _tell(explored)
    return 1 if missed else 0


def _tell(explored: Explored) -> None:
    if explored.found:
        _say(*(f"    {label}" for label in explored.found.trace), f"    => {explored.found.what}")


def _say(*lines: str) -> None:
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
