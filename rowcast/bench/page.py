"""A report as one HTML file that stands for itself: tables and plots, no script, nothing from another host."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from rowcast.bench.figures import Outcome, Report
from rowcast.bench.plots import svg
from rowcast.bench.tables import goal, spread, verdict

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #212529; background: #fff }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 1.5rem }
td, th { border-bottom: 1px solid #dee2e6; padding: .25rem .6rem; text-align: left }
.reached { color: #2b8a3e } .short { color: #c92a2a }
svg { max-width: 100%; height: auto }
"""


def page(report: Report) -> str:
    """The whole file. Raises ConfigurationError if leather is not installed."""
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en"><head><meta charset="utf-8"/><title>rowcast bench</title>',
            f"<style>{_STYLE}</style></head><body>",
            "<h1>rowcast bench</h1>",
            *_about(report),
            *([] if report.quick else _held_against_goals(report)),
            *(part for outcome in report.outcomes for part in _section(outcome)),
            "</body></html>\n",
        ]
    )


def _about(report: Report) -> Iterable[str]:
    yield _table(("machine", ""), [(name, value) for name, value in report.machine.items()])
    yield _table(("version", ""), [(name, value) for name, value in report.versions.items()])
    small = " Small sizes, for a try (--quick): no figures to compare." if report.quick else ""
    yield f"<p>Medians of {report.rounds} rounds, the lowest and the highest behind them.{small}</p>"


def _held_against_goals(report: Report) -> Iterable[str]:
    yield "<h2>What should be reached</h2>"
    yield _table(("", "figure", "should be", ""), _goals(report))


def _goals(report: Report) -> Iterable[tuple[str, ...]]:
    for outcome in report.outcomes:
        for one in outcome.figures:
            if one.goal:
                yield f"{outcome.name}: {one.name}", spread(one), goal(one), verdict(one)


def _section(outcome: Outcome) -> Iterable[str]:
    yield f"<h2>{escape(outcome.name)}</h2><p>{escape(outcome.what)}</p>"
    yield _table(("figure", ""), [(one.name, spread(one)) for one in outcome.figures])
    yield from (f"<p>Not run: {escape(sentence)}</p>" for sentence in outcome.not_run)
    yield from (f"<figure>{svg(plot)}</figure>" for plot in outcome.plots)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = ["<table><tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in head) + "</tr>"]
    lines += ["<tr>" + "".join(map(_cell, row)) + "</tr>" for row in rows]
    return "\n".join([*lines, "</table>"])


def _cell(text: str) -> str:
    kind = {"reached": ' class="reached"', "short of it": ' class="short"'}.get(text, "")
    return f"<td{kind}>{escape(text)}</td>"
