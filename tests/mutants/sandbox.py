"""A copy of the checkout, as it is on disk, for code that is to be broken."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.mutants.mutant import Mutant
from tests.parts import ROOT


class PatchError(Exception):
    """The patch does not fit the code: `python -m tests.mutants --refresh` mends what has only moved."""


@contextmanager
def sandbox(mutant: Mutant | None = None) -> Iterator[Path]:
    """A folder with everything of the checkout that git does not ignore, and the mutant's patch applied; gone with the block."""
    folder = Path(tempfile.mkdtemp(prefix="rowcast-mutant-"))
    folder.chmod(0o711)
    try:
        for name in _names():
            if (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, folder / name)
        if mutant is not None:
            apply(mutant, folder)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def apply(mutant: Mutant, folder: Path, *, check: bool = False) -> None:
    """Apply the patch to the files of that folder, or only look whether it would; raises PatchError."""
    done = git("apply", "-p1", *(["--check"] if check else []), str(mutant.path), folder=folder)
    if done.returncode:
        raise PatchError(f"{mutant.name}: {done.stderr.strip()}")


def git(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run git there, whatever repository somebody's environment speaks of."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return subprocess.run(["git", *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False)


def _names() -> list[str]:
    listed = git("ls-files", "-z", "--cached", "--others", "--exclude-standard", folder=ROOT)
    return list(dict.fromkeys(filter(None, listed.stdout.split("\0"))))
