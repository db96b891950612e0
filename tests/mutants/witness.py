"""A pytest plugin (`-p tests.mutants.witness`): notes whose code runs and what each test said, one line of JSON each.

The notes go to the file that MUTANT_JOURNAL names, as they come, so that they outlive a run that is killed.
"""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Generator
from pathlib import Path

import psycopg
import pytest

PACKAGES = ("core", "db", "fanout", "bridge", "web", "rowcast", "tests")
# Code that can't run is no mutant: anything would catch it.
_CANT_RUN = (SyntaxError, ImportError, NameError, psycopg.errors.SyntaxErrorOrAccessRuleViolation)


def pytest_sessionstart(session: pytest.Session) -> None:
    _note(what="start", places={name: _place(name) for name in PACKAGES})


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call" or report.failed:
        error = call.excinfo.value if call.excinfo else None
        _note(
            what="report",
            test=report.nodeid,
            when=report.when,
            outcome=report.outcome,
            reason=" ".join(f"{type(error).__name__}: {error}".split())[:300] if error else "",
            cant_run=next((repr(cause) for cause in _causes(error) if isinstance(cause, _CANT_RUN)), ""),
        )
    return report


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.failed:
        _note(
            what="report",
            test=report.nodeid,
            when="collect",
            outcome="failed",
            reason=report.longreprtext[-300:],
            cant_run="",
        )


def _causes(error: BaseException | None) -> list[BaseException]:
    """The error, what led to it, and those in its groups."""
    found: list[BaseException] = []
    todo = [error]
    while todo:
        cause = todo.pop()
        if cause is not None and cause not in found:  # a group may be the context of one of its own
            found.append(cause)
            todo += [
                cause.__cause__,
                cause.__context__,
                *(cause.exceptions if isinstance(cause, BaseExceptionGroup) else []),
            ]
    return found


def _place(package: str) -> str:
    try:
        return str(Path(importlib.import_module(package).__file__ or "").resolve())
    except Exception as error:
        return f"can't be imported: {error!r}"


def _note(**fields: object) -> None:
    with Path(os.environ["MUTANT_JOURNAL"]).open("a") as journal:
        journal.write(json.dumps(fields) + "\n")
