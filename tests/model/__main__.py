"""`python -m tests.model`: walks from a seed on, with the figures of what they met; or each rule broken, and the walks that find it."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from tests.model.rules import RULES
from tests.model.walk import STEPS, walk


def main() -> int:
    """Exit status 1 if a promise was broken, or a rule could be."""
    parser = argparse.ArgumentParser(prog="python -m tests.model", description=__doc__)
    parser.add_argument("--walks", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0, help="of the first walk; the next has the next")
    parser.add_argument("--steps", type=int, default=STEPS, help="taken by chance, before everything is mended")
    parser.add_argument("--trace", action="store_true", help="print every step of each walk that fails")
    parser.add_argument("--rules", action="store_true", help="break each rule instead, for so many walks")
    options = parser.parse_args()
    return _break_rules(options.walks, options.seed) if options.rules else _walk(options)


def _walk(options: argparse.Namespace) -> int:
    began, failed = time.monotonic(), 0
    met: Counter[str] = Counter()
    for seed in range(options.seed, options.seed + options.walks):
        result = walk(seed, steps=options.steps, trace=options.trace)
        met += result.logs + Counter(walks=1, steps=result.steps, rows=result.rows, events=result.events)
        if result.violations:
            failed += 1
            _say(f"seed {seed}:", *result.violations, *result.trace, sep="\n  ")
    _say(f"{failed} of {options.walks} walks failed; {time.monotonic() - began:.0f} s")
    for name, count in met.most_common():
        _say(f"{count:>9} {name}")
    return 1 if failed else 0


def _break_rules(walks: int, seed: int) -> int:
    missed = 0
    for rule in RULES:
        with rule.broken() as broken:
            found = sum(bool(broken.walk(seed + n, faults=rule.faults).violations) for n in range(walks))
        missed += not found
        _say(f"| {rule.name} | {found} of {walks} |")
    return 1 if missed else 0


def _say(*lines: str, sep: str = "\n") -> None:
    sys.stdout.write(sep.join(lines) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
