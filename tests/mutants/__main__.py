"""python -m tests.mutants: break each rule in turn, and see that a test fails. Exit status 1 if one survived."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from tests.mutants import table
from tests.mutants.mutant import Mutant, all_mutants
from tests.mutants.refresh import refresh
from tests.mutants.sandbox import PatchError
from tests.mutants.trial import Outcome, Verdict, try_out, try_unbroken


def main() -> int:
    options = _parser().parse_args()
    mutants = [mutant for mutant in all_mutants() if _named(mutant, options.names)]
    if not mutants:
        _say(f"No mutant is named so: {' '.join(options.names)}")
        return 2
    if options.refresh:
        return _refresh(mutants)
    start = time.monotonic()
    verdicts, sound = _run(mutants, jobs=options.jobs, all_tests=options.all_tests)
    if options.write:
        table.write(all_mutants(), verdicts)
    return _sum_up(verdicts, time.monotonic() - start) or (0 if sound else 1)


def _run(mutants: Sequence[Mutant], *, jobs: int, all_tests: bool) -> tuple[dict[str, Verdict], bool]:
    """What became of each, and whether their killers pass on the code as it is."""
    with ThreadPoolExecutor(jobs) as pool:
        try:
            unbroken = None if all_tests else pool.submit(try_unbroken, mutants)
            verdicts = list(pool.map(lambda mutant: _try(mutant, all_tests), mutants))
            sound = unbroken is None or _sound(unbroken.result())
        except KeyboardInterrupt:
            _say("Waiting for those that run ...")
            pool.shutdown(cancel_futures=True)
            raise
    return dict(zip([mutant.name for mutant in mutants], verdicts, strict=True)), sound


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these: a number, a name or part of one")
    parser.add_argument("--jobs", type=int, default=3, help="how many at a time (3); most of a run is waiting")
    parser.add_argument("--all-tests", action="store_true", help="run every fast test on each, not only those it names")
    parser.add_argument("--write", action="store_true", help="write what was found into docs/mutants.md")
    parser.add_argument("--refresh", action="store_true", help="fit the patches to code that has moved; run nothing")
    return parser


def _named(mutant: Mutant, names: Sequence[str]) -> bool:
    number = mutant.name.partition("-")[0]
    return not names or any(int(name) == int(number) if name.isdigit() else name in mutant.name for name in names)


def _try(mutant: Mutant, all_tests: bool) -> Verdict:
    verdict = try_out(mutant, all_tests=all_tests)
    told = "\n".join([*verdict.caught_by, verdict.reason] if all_tests else [*verdict.caught_by, verdict.reason][:2])
    _say(f"{verdict.outcome:8} {verdict.seconds:5.1f} s  {mutant.name}\n" + _indented(told))
    return verdict


def _sound(verdict: Verdict) -> bool:
    """Do the killers pass on the code as it is? If not, what they caught proves nothing."""
    if verdict.outcome is Outcome.SURVIVED:
        return True
    _say(f"The tests fail on the unbroken code too: {verdict.caught_by} {verdict.reason}")
    return False


def _sum_up(verdicts: dict[str, Verdict], seconds: float) -> int:
    missed = {name: verdict for name, verdict in verdicts.items() if verdict.outcome is not Outcome.CAUGHT}
    _say(f"{len(verdicts) - len(missed)} of {len(verdicts)} mutants caught in {seconds:.0f} s")
    for name, verdict in missed.items():
        _say(f"  {verdict.outcome}: {name}  {verdict.reason}")
    return 1 if missed else 0


def _refresh(mutants: Sequence[Mutant]) -> int:
    failed = 0
    for mutant in mutants:
        try:
            if refresh(mutant):
                _say(f"written anew: {mutant.name}")
        except PatchError as error:
            failed = 1
            _say(f"does not fit: {error}")
    return failed


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 -- a command's output


def _indented(text: str) -> str:
    return "\n".join(f"                  {line}" for line in text.splitlines())


if __name__ == "__main__":
    sys.exit(main())
