"""Everything broken by a schedule of fixed seed, and nothing lost, doubled or out of order; and a rig that can tell."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.chaos.ensemble import Shape
from tests.chaos.faults import FAULTS
from tests.chaos.play import play
from tests.chaos.schedule import Planned, Schedule, draw
from tests.checkout import PACKAGES
from tests.parts import ROOT

SEED = 4


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_the_promise_holds_while_everything_is_broken(tmp_path: Path) -> None:
    shape = Shape(standby="async", replica=True)
    played = await play(draw(SEED, 45, shape, FAULTS), tmp_path / "run", print)
    assert len({window.name for window in played.evidence.windows}) > 5
    assert len(played.evidence.rows) > 500
    assert played.violations == []


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_the_rig_finds_a_rowcast_that_sees_no_holes(tmp_path: Path) -> None:
    """Batches are dropped while Redis refuses connections; a web process that does not look at where a batch began loses them."""
    # Shorter than the silence of marks that makes a web process read again of itself.
    refused = [Planned("refuse", at, 1, {"wire": f"bridge{number}-redis"}) for at in (4, 7, 10) for number in (0, 1)]
    root = _copy_that_sees_no_holes(tmp_path / "broken")
    played = await play(Schedule(SEED, 14, Shape(), refused), tmp_path / "run", print, root=root)
    assert "I1 no loss" in {violation.promise for violation in played.violations}


def _copy_that_sees_no_holes(folder: Path) -> Path:
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    bucket = folder / "web" / "bucket.py"
    code, rule = bucket.read_text(), "item.start > position"
    assert code.count(rule) == 1
    bucket.write_text(code.replace(rule, f"(isinstance(item, Mark) and {rule})"))
    return folder
