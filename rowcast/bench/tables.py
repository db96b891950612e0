"""A report as text: lines as it runs, and the table of what should be reached."""

from __future__ import annotations

import math
from collections.abc import Iterator

from rowcast.bench.figures import Figure, Outcome, Report

_VERDICTS = {True: "reached", False: "short of it", None: ""}
_WIDE, _WHOLE = 100, 1000


def number(value: float) -> str:
    """Three digits that count, or all of them before the point."""
    if not math.isfinite(value):
        return "–"  # noqa: RUF001 -- nothing to show
    if abs(value) >= _WHOLE:
        return f"{value:,.0f}"
    return f"{value:.0f}" if abs(value) >= _WIDE else f"{value:.3g}"


def spread(figure: Figure) -> str:
    """The median, and behind it the lowest and the highest of more than one round."""
    median = f"{number(figure.median)} {figure.unit}".strip()
    if len(figure.values) < 2:  # noqa: PLR2004
        return median
    return f"{median} ({number(figure.low)} to {number(figure.high)})"


def goal(figure: Figure) -> str:
    """What it should be, in signs."""
    if figure.goal is None:
        return ""
    sign = "≥" if figure.goal.bound == "at least" else "≤"
    return f"{sign} {number(figure.goal.value)} {figure.unit}".strip()


def verdict(figure: Figure) -> str:
    return _VERDICTS[figure.reached]


def outcome_lines(outcome: Outcome, *, quick: bool) -> Iterator[str]:
    """One measurement for a terminal; a quick one is held against nothing."""
    yield f"  {outcome.what}"
    for one in outcome.figures:
        ending = f"   {goal(one)}: {verdict(one)}" if one.goal and not quick else ""
        yield f"  {one.name:<66} {spread(one)}{ending}"
    for sentence in outcome.not_run:
        yield f"  not run: {sentence}"


def summary(report: Report) -> list[str]:
    """The table of what should be reached, for a terminal."""
    if report.quick:
        return ["Small sizes, for a try: no figures to compare, with each other or with what should be reached."]
    figures = [(outcome.name, one) for outcome in report.outcomes for one in outcome.figures if one.goal]
    return [f"{name:<9} {one.name:<66} {spread(one):<34} {goal(one):<20} {verdict(one)}" for name, one in figures]


def markdown(report: Report) -> str:
    """The same for docs: machine, what should be reached, then all figures."""
    lines = [_machine(report), "", "| | figure | should be | |", "|---|---|---|---|"]
    for outcome in report.outcomes:
        for one in outcome.figures:
            if one.goal:
                lines.append(
                    f"| {_cell(outcome.name)}: {_cell(one.name)} | {spread(one)} | {goal(one)} | {verdict(one)} |"
                )
    for outcome in report.outcomes:
        lines += ["", f"**{outcome.name}**: {outcome.what}", "", "| | figure |", "|---|---|"]
        lines += [f"| {_cell(one.name)} | {spread(one)} |" for one in outcome.figures]
        lines += ["", *(f"Not run: {sentence}" for sentence in outcome.not_run)] if outcome.not_run else []
    return "\n".join(lines) + "\n"


def _machine(report: Report) -> str:
    machine = "; ".join(f"{name}: {value}" for name, value in report.machine.items())
    versions = ", ".join(f"{name} {value}" for name, value in report.versions.items())
    quick = " Small sizes, for a try (`--quick`)." if report.quick else ""
    return f"{machine}. {versions}. Medians of {report.rounds} rounds, the lowest and the highest behind them.{quick}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
