"""Fit patches to code that has moved: apply each as loosely as `patch` does, and write it anew."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.mutants.mutant import Mutant
from tests.mutants.sandbox import PatchError, git
from tests.parts import ROOT

CONTEXT = 2


def refresh(mutant: Mutant, root: Path = ROOT) -> bool:
    """Write the patch anew if that changes it; raises PatchError if the code it speaks of is no longer there."""
    with tempfile.TemporaryDirectory(prefix="rowcast-mutant-") as folder:
        before, after = Path(folder, "a"), Path(folder, "b")
        for side in (before, after):
            for name in mutant.files:
                (side / name).parent.mkdir(parents=True, exist_ok=True)
                if (root / name).exists():
                    shutil.copy2(root / name, side / name)
        _patch(mutant, after)
        text = mutant.head + difference(Path(folder))
    if text == mutant.path.read_text("utf-8"):
        return False
    mutant.path.write_text(text, "utf-8")
    return True


def difference(folder: Path) -> str:
    """The difference between its folders a and b."""
    options = ["--no-index", "--no-prefix", "--no-color", "--no-ext-diff", f"--unified={CONTEXT}"]
    told = git("diff", *options, "a", "b", folder=folder).stdout
    return "".join(line for line in told.splitlines(keepends=True) if not line.startswith("index "))


def _patch(mutant: Mutant, folder: Path) -> None:
    done = subprocess.run(
        ["patch", "-p1", "--batch", "--forward", "--fuzz=2", "--no-backup-if-mismatch", "--reject-file=-"],
        cwd=folder,
        input=mutant.diff,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise PatchError(f"{mutant.name}: {done.stdout.strip()}")
