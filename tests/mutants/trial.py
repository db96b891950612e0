"""Run tests in a sandbox and judge: was the mutant caught, did it survive, or is it no mutant at all?"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeAlias

from tests.mutants.mutant import Mutant
from tests.mutants.sandbox import PatchError, sandbox

# Seconds for one mutant's tests. What hangs is caught only by a test that says so before.
LIMIT = 300.0
# Plugins that no killer needs and that take a second to load.
HEAVY = ("schemathesis", "playwright", "anyio")
# Folders whose tests need nothing but the code: what else looks at the checkout would see the patch itself.
EVERYTHING = ("core", "db", "fanout", "bridge", "web", "model", "promises")

Note: TypeAlias = dict[str, Any]


class Outcome(StrEnum):
    CAUGHT = "caught"
    SURVIVED = "SURVIVED"
    INVALID = "INVALID"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a mutant: the tests that failed, why the first did (or why it is invalid), and how many seconds it took."""

    outcome: Outcome
    caught_by: tuple[str, ...]
    reason: str
    seconds: float


def try_out(mutant: Mutant, *, all_tests: bool = False) -> Verdict:
    """Run the mutant's killers, up to the first that fails, or all fast tests."""
    start = time.monotonic()
    try:
        with sandbox(mutant) as root:
            notes = _run(root, _everything(root) if all_tests else mutant.killers, go_on=all_tests)
            outcome, caught_by, reason = judge(notes, root)
    except PatchError as error:
        outcome, caught_by, reason = Outcome.INVALID, (), str(error)
    return Verdict(outcome, caught_by, reason, time.monotonic() - start)


def try_unbroken(mutants: Sequence[Mutant]) -> Verdict:
    """The killers of all of them on the code as it is: "survived" is what must come of it."""
    start = time.monotonic()
    with sandbox() as root:
        killers = sorted({killer for mutant in mutants for killer in mutant.killers})
        outcome, caught_by, reason = judge(_run(root, killers, go_on=True), root)
    return Verdict(outcome, caught_by, reason, time.monotonic() - start)


def judge(notes: Sequence[Note], root: Path) -> tuple[Outcome, tuple[str, ...], str]:
    """By the witness's notes. Caught: a test failed, in its own body, over code that runs and is the sandbox's."""
    if reason := _not_the_broken_code(notes, root):
        return Outcome.INVALID, (), reason
    reports = [note for note in notes if note["what"] == "report"]
    failed = [note for note in reports if _failed_in_its_body(note)]
    if failed:
        return Outcome.CAUGHT, tuple(note["test"] for note in failed), failed[0]["reason"]
    if reason := _no_fair_trial(notes, reports):
        return Outcome.INVALID, (), reason
    return Outcome.SURVIVED, (), ""


def _not_the_broken_code(notes: Sequence[Note], root: Path) -> str:
    places = next((note["places"] for note in notes if note["what"] == "start"), None)
    if places is None:
        return "pytest did not start"
    strangers = [f"{name}: {place}" for name, place in places.items() if not place.startswith(f"{root.resolve()}/")]
    return f"not the broken code was run: {strangers}" if strangers else ""


def _failed_in_its_body(note: Note) -> bool:
    return bool(note["when"] == "call" and note["outcome"] == "failed" and not note["cant_run"])


def _no_fair_trial(notes: Sequence[Note], reports: Sequence[Note]) -> str:
    for note in reports:
        if note["outcome"] == "failed":
            return f"{note['test']} ({note['when']}): {note['cant_run'] or note['reason']}"
    if not any(note["outcome"] == "passed" for note in reports):
        return "no test ran"
    return "" if notes[-1]["what"] == "end" else f"the run did not end; the last test was {reports[-1]['test']}"


def _everything(root: Path) -> list[str]:
    return [f"tests/{name}" for name in EVERYTHING if (root / "tests" / name).is_dir()]


def _run(root: Path, tests: Sequence[str], *, go_on: bool) -> list[Note]:
    """Run these tests in the sandbox; the witness's notes, and a last one if the run came to its end by itself."""
    journal = root / "journal"
    journal.touch()
    # The sandbox comes first for pytest by `python -m` and for its children by their folder; PYTHONPATH says it once more.
    environment = os.environ | {"PYTHONPATH": str(root), "MUTANT_JOURNAL": str(journal)}
    without = ["cacheprovider", *([] if go_on else HEAVY)]
    options = ["-q", "-m", "not slow", "-p", "tests.mutants.witness", *(f"-pno:{plugin}" for plugin in without)]
    with (root / "output").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "pytest", *options, *([] if go_on else ["-x"]), *tests],
            cwd=root,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        ended = _wait(process, LIMIT * 10 if go_on else LIMIT)
    notes = [json.loads(line) for line in journal.read_text().splitlines()]
    return [*notes, {"what": "end"}] if ended else notes


def _wait(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Did it end by itself? If not it is asked to clean up after itself, then killed with its children."""
    try:
        process.wait(seconds)
    except BaseException as error:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if not isinstance(error, subprocess.TimeoutExpired):
            raise
        return False
    return True
