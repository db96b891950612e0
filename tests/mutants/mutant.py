"""One mutant: a patch, and what its head says about it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

PATCHES = Path(__file__).parent / "patches"
_FIELD = re.compile(r"^(Rule|Loss|Killed-by): (.+(?:\n .+)*)$", re.MULTILINE)
_DIFF = re.compile(r"^diff --git ", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Mutant:
    """`rule` is what it breaks, `loss` what a user would lose, `killers` the tests (pytest node ids) of which one must fail."""

    path: Path
    head: str
    diff: str
    rule: str
    loss: str
    killers: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def files(self) -> list[str]:
        """The files it changes, as paths in the checkout."""
        return re.findall(r"^diff --git a/(\S+) b/", self.diff, re.MULTILINE)


def read(path: Path) -> Mutant:
    """The mutant in that file; raises ValueError for a head that leaves something out."""
    text = path.read_text("utf-8")
    start = _DIFF.search(text)
    if start is None:
        raise ValueError(f"{path.name} has no diff")
    head, diff = text[: start.start()], text[start.start() :]
    fields = [(name, " ".join(value.split())) for name, value in _FIELD.findall(head)]
    said = dict(fields)
    killers = tuple(value for name, value in fields if name == "Killed-by")
    if not {"Rule", "Loss", "Killed-by"} <= said.keys():
        raise ValueError(f"{path.name} must say Rule, Loss and Killed-by before its diff")
    return Mutant(path, head, diff, said["Rule"], said["Loss"], killers)


def all_mutants() -> list[Mutant]:
    """Every mutant, by number."""
    return [read(path) for path in sorted(PATCHES.glob("*.patch"))]
