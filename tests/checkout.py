"""The checkout as tests look at it: its files, its packages, what it says it needs."""

from __future__ import annotations

import re
import subprocess
import tomllib
from functools import cache
from pathlib import Path

from packaging.requirements import Requirement

from tests.parts import ROOT

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES: list[str] = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
EXTRAS: dict[str, list[str]] = PYPROJECT["project"]["optional-dependencies"]


@cache
def tracked() -> dict[Path, str]:
    """Every text file that git knows, with its text; paths as in the checkout."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    texts: dict[Path, str] = {}
    for name in filter(None, names.split("\0")):
        try:
            texts[Path(name)] = (ROOT / name).read_text()
        except (UnicodeDecodeError, FileNotFoundError, IsADirectoryError):
            continue
    return texts


def documents() -> list[Path]:
    return [path for path in tracked() if path.suffix == ".md"]


def block(page: str, title: str) -> str:
    """The lines of the docs between this comment and the next or the next blank line."""
    text = (ROOT / "docs" / page).read_text("utf-8")
    _, found, rest = text.partition(f"    # {title}\n")
    assert found, f"docs/{page} has nothing on {title}"
    return re.split(r"\n(?:\s*\n|    # )", rest)[0]


def requirements(extra: str | None = None) -> list[Requirement]:
    project = PYPROJECT["project"]
    lines = project["dependencies"] if extra is None else project["optional-dependencies"][extra]
    return [Requirement(line) for line in lines if not line.startswith("rowcast")]
