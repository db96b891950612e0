"""`python -m bench`: compare two revisions, or inflict faults, on servers of its own; one table comes out."""

from __future__ import annotations

import argparse
import os
import platform
import sys

from bench import against, faults

RUNS = 5


def main() -> None:
    """With --against the main figures here and there, with --faults what faults cost."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--against", metavar="REVISION", help="compare this checkout with another revision of it, in one run"
    )
    what.add_argument(
        "--faults", action="store_true", help="what each kind of fault costs writers, and how soon it heals"
    )
    parser.add_argument(
        "--rounds", type=int, help=f"how often each is measured (default {RUNS}, of faults {faults.ROUNDS})"
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=faults.SECONDS,
        help="of each fault, and of quiet before it (default %(default)s)",
    )
    parser.add_argument("--only", default="", help="faults whose names contain this")
    arguments = parser.parse_args()
    if arguments.against:
        against.main(arguments.against, arguments.rounds or RUNS)
    else:
        rounds = arguments.rounds or faults.ROUNDS
        head = f"{_machine()}; median (lowest to highest) of {rounds}, the slowest of all, without → with the fault"
        sys.stdout.write(head + "\n")
        sys.stdout.flush()
        faults.main(rounds, arguments.seconds, arguments.only)


def _machine() -> str:
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"


if __name__ == "__main__":
    main()
