"""The mutants fit the code as it is, name tests that exist, and are judged fairly: what this says is told in seconds, without running them."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.checkout import PACKAGES
from tests.mutants import table
from tests.mutants.mutant import Mutant, all_mutants, read
from tests.mutants.refresh import refresh
from tests.mutants.sandbox import PatchError, apply, sandbox
from tests.mutants.trial import Note, Outcome, judge
from tests.parts import ROOT

MUTANTS = all_mutants()


@cache
def names_in(path: str) -> frozenset[str]:
    """The names of a test file's functions, and of the classes and variables that pytest takes for some."""
    names = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                names.add(name)
            case ast.Assign(targets=[ast.Name(id=name)]):
                names.add(name)
    return frozenset(names)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_fits_the_code_and_names_tests_that_exist(mutant: Mutant, tmp_path: Path) -> None:
    apply(mutant, ROOT, check=True)
    for name in mutant.files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, tmp_path / name)
    apply(mutant, tmp_path)
    for name in mutant.files:
        if name.endswith(".py"):
            ast.parse((tmp_path / name).read_text("utf-8"))  # a line that moved may have taken its context with it
    assert {Path(name).parts[0] for name in mutant.files} <= set(PACKAGES), "it breaks the product, never its tests"
    for killer in mutant.killers:
        path, _, name = killer.partition("::")
        assert re.sub(r"\[.*", "", name) in names_in(path), killer


def test_each_breaks_something_of_its_own() -> None:
    assert len({mutant.diff for mutant in MUTANTS}) == len({mutant.rule for mutant in MUTANTS}) == len(MUTANTS)
    numbers = [int(mutant.name.partition("-")[0]) for mutant in MUTANTS]
    assert numbers == list(range(1, len(MUTANTS) + 1))


def test_the_page_tells_of_each_what_its_patch_says_and_what_caught_it() -> None:
    """`python -m tests.mutants --write` writes it."""
    rows = table.rows()
    assert list(rows) == [mutant.name for mutant in MUTANTS]
    for mutant in MUTANTS:
        rule, loss, caught_by, _ = rows[mutant.name]
        assert [rule, loss] == table.cells(mutant)
        found = re.findall(r"`(.+?)`", caught_by)
        assert found, f"{mutant.name}: {caught_by}"
        assert all(any(test.startswith(killer) for killer in mutant.killers) for test in found)


HEAD = "Rule: none.\nLoss: none.\nKilled-by: tests/mutants/test_mutants.py::test_none\n\n"
CANARY = """\
diff --git a/rowcast/__init__.py b/rowcast/__init__.py
--- a/rowcast/__init__.py
+++ b/rowcast/__init__.py
@@ -1,0 +1,1 @@
+raise SystemExit(77)
"""


def made(folder: Path, diff: str) -> Mutant:
    path = folder / "00-test.patch"
    path.write_text(HEAD + diff)
    return read(path)


async def test_processes_that_a_test_starts_run_the_broken_code_too(tmp_path: Path) -> None:
    """Rowcast is installed as a link to this checkout; in a sandbox the sandbox's code comes before it."""
    first = (ROOT / "rowcast/__init__.py").read_text().splitlines()[0]
    canary = made(tmp_path, CANARY.replace("-1,0 +1,1", "-1,1 +1,2") + f" {first}\n")
    starting = (
        "import asyncio; from tests.rig import Process; process = Process(['--version'], {}); "
        "run = asyncio.Runner().run; run(process.start()); print(run(process.ended()))"
    )
    with sandbox(canary) as root:
        done = subprocess.run([sys.executable, "-c", starting], cwd=root, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "77", done.stderr


def test_a_patch_that_does_not_fit_is_no_mutant(tmp_path: Path) -> None:
    with pytest.raises(PatchError, match="00-test"), sandbox(made(tmp_path, CANARY + " no such line\n")):
        pass


def test_a_head_that_leaves_something_out_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "00-test.patch"
    path.write_text("Rule: none.\n\n" + CANARY)
    with pytest.raises(ValueError, match="Killed-by"):
        read(path)


def test_a_patch_is_fitted_to_code_that_moved(tmp_path: Path) -> None:
    (tmp_path / "core").mkdir()
    code = tmp_path / "core/code.py"
    code.write_text("above\n" * 30 + "first\nold\nlast, changed\nthe end\n")
    diff = "diff --git a/core/code.py b/core/code.py\n--- a/core/code.py\n+++ b/core/code.py\n"
    mutant = made(tmp_path, diff + "@@ -1,4 +1,4 @@\n first\n-old\n+new\n last\n the end\n")
    assert refresh(mutant, tmp_path)
    moved = read(mutant.path)
    assert moved.head == mutant.head
    assert "@@ -30,5 +30,5 @@" in moved.diff
    assert not refresh(moved, tmp_path)
    code.write_text("something else\n")
    with pytest.raises(PatchError):
        refresh(moved, tmp_path)


# --- judging

ROOT_OF_IT = Path("/sandbox")
START: Note = {"what": "start", "places": {"core": "/sandbox/core/__init__.py"}}
END: Note = {"what": "end"}


def said(outcome: str, *, when: str = "call", cant_run: str = "") -> Note:
    fields = {"when": when, "outcome": outcome, "cant_run": cant_run}
    return {"what": "report", "test": "test_it", "reason": "AssertionError", **fields}


@pytest.mark.parametrize(
    ("notes", "expected"),
    [
        pytest.param([START, said("failed"), END], Outcome.CAUGHT, id="a test failed"),
        pytest.param([START, said("passed"), said("failed")], Outcome.CAUGHT, id="one failed and another hung"),
        pytest.param([START, said("passed"), END], Outcome.SURVIVED, id="all passed"),
        pytest.param([START, said("passed")], Outcome.INVALID, id="one passed and another hung"),
        pytest.param([START, END], Outcome.INVALID, id="no test ran"),
        pytest.param([START, said("skipped"), END], Outcome.INVALID, id="skipped"),
        pytest.param([START, said("failed", when="setup"), END], Outcome.INVALID, id="a fixture failed"),
        pytest.param([START, said("failed", when="collect"), END], Outcome.INVALID, id="it can't be imported"),
        pytest.param([START, said("failed", cant_run="NameError"), END], Outcome.INVALID, id="it can't run"),
        pytest.param([END], Outcome.INVALID, id="pytest did not start"),
        pytest.param(
            [{"what": "start", "places": {"core": "/elsewhere/core/__init__.py"}}, said("failed"), END],
            Outcome.INVALID,
            id="another's code ran",
        ),
    ],
)
def test_only_a_test_that_failed_over_the_broken_code_catches_it(notes: list[Note], expected: Outcome) -> None:
    outcome, caught_by, reason = judge(notes, ROOT_OF_IT)
    assert outcome is expected, reason
    assert bool(caught_by) is (expected is Outcome.CAUGHT)
    assert bool(reason) is (expected is not Outcome.SURVIVED)
