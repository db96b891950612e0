"""docs/logs.md lists every event that the code logs, with its level and fields, and no other."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from tests.checkout import PACKAGES, tracked

LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}
NAME = re.compile(r"[a-z_]+\.[a-z_]+")


def calls() -> Iterator[tuple[Path, ast.Call]]:
    """All calls of a method of `_log`."""
    for path, text in tracked().items():
        if path.suffix == ".py" and path.parts[0] in PACKAGES and "_log." in text:
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.Call) and _logs(node.func):
                    yield path, node


def _logs(called: ast.expr) -> bool:
    return isinstance(called, ast.Attribute) and called.attr in LEVELS and ast.unparse(called.value) == "_log"


def unseen() -> list[str]:
    """Where a method of `_log` is taken without a call: what it then logs would be missing here."""
    found = []
    for path, text in tracked().items():
        if path.suffix == ".py" and path.parts[0] in PACKAGES and "_log." in text:
            tree = ast.parse(text)
            called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
            found += [
                f"{path}:{node.lineno}"
                for node in ast.walk(tree)
                if isinstance(node, ast.expr) and _logs(node) and id(node) not in called
            ]
    return found


def logged() -> dict[str, tuple[set[str], set[str]]]:
    """The levels and fields of each event."""
    found: dict[str, tuple[set[str], set[str]]] = defaultdict(lambda: (set(), set()))
    for path, call in calls():
        name = call.args[0] if call.args else None
        assert isinstance(name, ast.Constant), f"{path}:{call.lineno}: the name of an event is a constant"
        assert NAME.fullmatch(str(name.value)), f"{path}:{call.lineno}: {name.value!r} is no dotted name"
        assert isinstance(call.func, ast.Attribute)
        levels, fields = found[str(name.value)]
        levels.add(call.func.attr)
        fields |= {str(keyword.arg) for keyword in call.keywords}
    return dict(found)


def listed() -> dict[str, tuple[set[str], set[str]]]:
    """The same, as the page has it."""
    rows = re.findall(r"^\| `([\w.]+)` \| ([^|]*)\| ?([^|]*)\| [^|]+\|$", tracked()[Path("docs/logs.md")], re.MULTILINE)
    assert [name for name, *_ in rows] == sorted(name for name, *_ in rows)
    return {name: (set(re.findall(r"\w+", levels)), set(re.findall(r"\w+", fields))) for name, levels, fields in rows}


def test_the_page_lists_what_the_code_logs() -> None:
    assert unseen() == []
    code, page = logged(), listed()
    assert page.keys() - code.keys() == set(), "listed, but nowhere logged"
    assert code.keys() - page.keys() == set(), "logged, but not listed in docs/logs.md"
    assert page == code


def test_no_event_has_a_field_for_what_is_private() -> None:
    """By its name at least: the text of a notification, a token, a cookie, a password."""
    private = {"message", "body", "data", "payload", "token", "cookie", "password", "headers", "url", "dsn"}
    for name, (_, fields) in logged().items():
        assert fields & private == set(), f"{name} has a field that may hold what is private"
