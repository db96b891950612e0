"""docs/security.md names a test for each threat, and each of them exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.checkout import tracked

PAGE = (Path(__file__).parent.parent / "docs" / "security.md").read_text()
TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def functions_of(source: str) -> set[str]:
    """The names of all test functions, methods included."""
    nodes = ast.walk(ast.parse(source))
    return {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def threats() -> list[list[str]]:
    """The cells of each row of the tables of threats."""
    section = PAGE.partition("## Threats, defences, tests")[2].partition("\n## ")[0]
    rows = [line.strip("|").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    return [row for row in rows if row[0].strip() != "threat"]


def test_every_threat_has_a_defence_and_a_test_that_exists() -> None:
    assert len(threats()) > 20
    for row in threats():
        assert len(row) == 3, f"this row has not the form threat | defence | test: {row}"
        assert row[1].strip(), f"no defence against: {row[0]}"
        named = TEST.findall(row[2])
        assert named, f"no test named as `tests/…py::test_…` for: {row[0]}"
        for file, name in named:
            assert name in functions_of(tracked().get(Path(file), "")), f"{file} has no {name}, against: {row[0]}"


def test_the_page_names_no_test_that_is_not_there() -> None:
    for file, name in TEST.findall(PAGE):
        assert name in functions_of(tracked().get(Path(file), "")), f"{file} has no {name}"
