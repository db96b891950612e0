"""Other people's event stream clients: packages of npm, locked here, and installed once into a folder that git does not see."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from tests.parts import ROOT, missing, require

HERE = Path(__file__).parent
PACKAGE = ("package.json", "package-lock.json")
SCRIPT = HERE / "cut.mjs"


def installed() -> Path:
    """The folder whose node_modules has the packages of package-lock.json; made at first use."""
    npm, _ = require("npm"), require("node")
    lock = hashlib.sha256((HERE / "package-lock.json").read_bytes()).hexdigest()[:12]
    folder = ROOT / ".venv-npm" / lock
    if not folder.is_dir():
        _install(npm, folder)
    return folder


def _install(npm: Path, folder: Path) -> None:
    unfinished = folder.with_name(f"{folder.name}-{os.getpid()}")
    unfinished.mkdir(parents=True)
    for name in PACKAGE:
        shutil.copy(HERE / name, unfinished)
    command = [str(npm), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    made = subprocess.run(command, cwd=unfinished, capture_output=True, text=True, check=False)
    if made.returncode:
        shutil.rmtree(unfinished)
        missing(f"npm could not install the packages of {HERE.name}: {made.stderr.strip().splitlines()[-1:]}")
    try:
        unfinished.rename(folder)
    except OSError:
        shutil.rmtree(unfinished)  # somebody else was as fast
