"""All records of one run, as the judge sees them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from tests.chaos.records import (
    Client,
    Failure,
    Got,
    Hold,
    Line,
    Probe,
    Row,
    Sample,
    Statement,
    Timing,
    Turn,
    Window,
    read,
)


class Violation(NamedTuple):
    """A promise that was broken, and where."""

    promise: str
    what: str


@dataclass
class Evidence:
    """What writers, clients, probes and the oracle wrote down. `commits`: key → place of its transaction in the order of commits;
    `whole_order`: has that order everything that was committed?"""

    statements: list[Statement] = field(default_factory=list)
    timings: list[Timing] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    holds: list[Hold] = field(default_factory=list)
    clients: list[Client] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    windows: list[Window] = field(default_factory=list)
    probes: list[Probe] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    commits: dict[str, int] = field(default_factory=dict)
    whole_order: bool = True

    @cached_property
    def table(self) -> dict[str, Row]:
        return {row.key: row for row in self.rows}

    @cached_property
    def insert_of(self) -> dict[str, Statement]:
        return {key: statement for statement in self.statements for key, _ in statement.rows}

    @cached_property
    def forgot_until(self) -> float:
        """When the last server that lost what it had committed was gone; if there was none, before all time."""
        return max((window.broken for window in self.windows if window.forgets), default=float("-inf"))

    def may_be_forgotten(self, key: str) -> bool:
        """May this row, or its stamp, have been lost with the end of the log?"""
        statement = self.insert_of.get(key)
        return statement is not None and statement.began < self.forgot_until

    def may_have_been_committed_and_lost(self, statement: Statement) -> bool:
        """Nobody heard how it ended, and that was while a server took commits which its successor never got."""
        return statement.outcome == "unknown" and any(
            window.forgets and window.start <= statement.ended and statement.began <= window.broken
            for window in self.windows
        )

    def due(self, client: Client) -> list[Row]:
        """The rows for this client's user, stamped, in the order of the log."""
        return sorted(
            (row for row in self.rows if row.user in (None, client.user) and row.seq is not None),
            key=lambda row: row.seq or 0,
        )


def gather(paths: Iterable[Path]) -> Evidence:
    """The evidence in these files; `client`, where noted, says whose life a line belongs to."""
    found = Evidence()
    clients: dict[str, Client] = {}
    for path in paths:
        for line, more in read(path):
            if isinstance(line, Got | Turn):
                client = clients.get(more["client"])
                if client is None:
                    client = clients[more["client"]] = Client(
                        more["client"], more["of"], more["since"], canary=more["canary"]
                    )
                client.story.append(line)
            else:
                _file(found, line)
    found.clients = list(clients.values())
    return found


def _file(found: Evidence, line: Line) -> None:
    match line:
        case Statement():
            found.statements.append(line)
        case Timing():
            found.timings.append(line)
        case Failure():
            found.failures.append(line)
        case Hold():
            found.holds.append(line)
        case Row():
            found.rows.append(line)
        case Window():
            found.windows.append(line)
        case Probe():
            found.probes.append(line)
        case Sample():
            found.samples.append(line)


def shortened(items: Sequence[object], most: int = 5) -> str:
    """The first few of them, and how many there are."""
    told = ", ".join(map(str, items[:most]))
    return told if len(items) <= most else f"{told} and {len(items) - most} more"
