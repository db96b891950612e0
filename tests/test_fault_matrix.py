"""The table of faults in docs/delivery.md: every row is there, and names tests that exist or what it waits for."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tests.parts import ROOT

ROWS = 40
_TEST = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


def rows() -> dict[int, list[str]]:
    """The cells of each row of the table, by its number."""
    text = (ROOT / "docs/delivery.md").read_text()
    lines = re.findall(r"^\| (\d+) \|(.*)\|$", text, re.MULTILINE)
    return {int(number): [cell.strip() for cell in re.split(r"(?<!\\)\|", cells)] for number, cells in lines}


@cache
def functions(path: Path) -> frozenset[str]:
    """The names of a test file's functions, those in its classes included."""
    nodes = ast.walk(ast.parse(path.read_text()))
    return frozenset(node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_every_fault_has_its_row() -> None:
    assert list(rows()) == list(range(1, ROWS + 1))


@pytest.mark.parametrize("number", range(1, ROWS + 1))
def test_a_row_names_tests_that_exist_or_says_what_it_waits_for(number: int) -> None:
    fault, tested, result, heals = rows()[number]
    assert fault
    assert result
    assert heals
    named = _TEST.findall(tested)
    assert named or tested.startswith(("waits for", "not done:"))
    for file, name in named:
        assert (ROOT / file).is_file(), f"row {number} names {file}"
        assert not name or name in functions(ROOT / file), f"row {number} names {file}::{name}"
