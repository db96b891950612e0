"""The table of mutants in docs/mutants.md, written from the patches and from what the last run found."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from tests.mutants.mutant import Mutant
from tests.mutants.trial import Verdict
from tests.parts import ROOT

PAGE = ROOT / "docs" / "mutants.md"
_HEAD = ["| mutant | rule broken | what a user would lose | caught by | s |", "|---|---|---|---|---|"]
_ROW = re.compile(r"^\| `([\w-]+)` \|(.*)\|$", re.MULTILINE)


def rows() -> dict[str, list[str]]:
    """The cells of each row after the name, by the mutant's name, in the order of the page."""
    return {
        name: [cell.strip() for cell in re.split(r"(?<!\\)\|", cells)] for name, cells in _ROW.findall(PAGE.read_text())
    }


def cells(mutant: Mutant) -> list[str]:
    """What the page must say of a mutant, whatever a run found."""
    return [_escaped(mutant.rule), _escaped(mutant.loss)]


def write(mutants: Iterable[Mutant], verdicts: Mapping[str, Verdict]) -> None:
    """Put the table into the page anew; who was not run keeps what the page says of the last time."""
    known = rows()
    lines = list(_HEAD)
    for mutant in mutants:
        verdict = verdicts.get(mutant.name)
        if verdict is not None:
            found = [", ".join(f"`{test}`" for test in verdict.caught_by) or verdict.outcome, f"{verdict.seconds:.0f}"]
        else:
            found = known.get(mutant.name, ["", "", "not run", ""])[2:]
        lines.append(f"| `{mutant.name}` | " + " | ".join([*cells(mutant), *found]) + " |")
    text = PAGE.read_text()
    start = text.index(_HEAD[0])
    end = re.compile(r"^(?!\|)", re.MULTILINE).search(text, start)
    PAGE.write_text(text[:start] + "\n".join(lines) + "\n" + (text[end.start() :] if end else ""))


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")
