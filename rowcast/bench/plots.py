"""Plots as SVG, drawn by leather: shapes and text, nothing from another host."""

from __future__ import annotations

import math
from typing import Any

from core.errors import ConfigurationError
from rowcast.bench.figures import Plot, Report
from rowcast.bench.tables import number

_WIDTH, _HEIGHT = 760, 480
_COLOURS = ("#0b7285", "#e8590c", "#9c36b5", "#868e96", "#2b8a3e", "#f08c00")


def plots(report: Report) -> list[Plot]:
    """All plots of a report that have something to show."""
    return [plot for outcome in report.outcomes for plot in outcome.plots if any(line.points for line in plot.lines)]


def picture(report: Report) -> str:
    """All plots in one SVG file. Raises ConfigurationError if leather is not installed."""
    drawn = plots(report)
    grid = require_leather().Grid()
    grid.add_many([_chart(plot) for plot in drawn])
    columns = math.ceil(math.sqrt(len(drawn)))
    return f"{grid.to_svg(width=columns * _WIDTH, height=math.ceil(len(drawn) / columns) * _HEIGHT)}\n"


def svg(plot: Plot) -> str:
    """One plot, as an element for a page."""
    return str(_chart(plot).to_svg(width=_WIDTH, height=_HEIGHT))


def require_leather() -> Any:
    """The library, with fonts that every browser has; raises ConfigurationError if it is not installed."""
    try:
        import leather  # noqa: PLC0415 -- an extra
    except ImportError as error:
        raise ConfigurationError("Plots need the package leather: pip install 'rowcast[bench]'.") from error
    for part in ("title", "legend", "axis_title", "tick"):
        setattr(leather.theme, f"{part}_font_family", "sans-serif")
    leather.theme.legend_font_size = 12
    leather.theme.background_color = "#ffffff"
    leather.theme.label_color = "#495057"
    return leather


def _chart(plot: Plot) -> Any:
    leather = require_leather()
    chart = leather.Chart(plot.title)
    across, up = (
        _Axis([x for x, _ in _points(plot)], log=plot.log_x),
        _Axis([y for _, y in _points(plot)], log=plot.log_y),
    )
    chart.add_x_scale(across.low, across.high)
    chart.add_y_scale(up.low, up.high)
    chart.add_x_axis(ticks=across.ticks, tick_formatter=across.label, name=plot.x)
    chart.add_y_axis(ticks=up.ticks, tick_formatter=up.label, name=plot.y)
    kinds = list(dict.fromkeys(line.name.rpartition(", ")[2] for line in plot.lines))
    for line in plot.lines:
        colour = _COLOURS[kinds.index(line.name.rpartition(", ")[2]) % len(_COLOURS)]
        if line.points:
            points = [(across.place(x), up.place(y)) for x, y in line.points]
            chart.add_line(points, None, None, line.name, colour, 2, "6 4" if line.dashed else "none")
    return chart


def _points(plot: Plot) -> list[tuple[float, float]]:
    return [point for line in plot.lines for point in line.points]


class _Axis:
    """One axis: where values stand on it, from where to where it goes, and what is written along it (`ticks` None: as it comes)."""

    def __init__(self, values: list[float], *, log: bool) -> None:
        self._log = log
        self.low = self.place(min(values)) if log else min(0.0, *values)
        self.high = max(self.place(max(values)) if log else max(values) * 1.05, self.low + 1e-9)
        self.ticks = [self.place(at) for at in _ticks(min(values), max(values))] if log else None

    def place(self, value: float) -> float:
        return math.log10(value) if self._log else float(value)

    def label(self, at: Any, *_: object) -> str:
        return number(10 ** float(at) if self._log else float(at))


def _ticks(low: float, high: float) -> list[float]:
    """Powers of ten, and three times those, within a range; its ends if there are too few."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    inside = [at for power in powers for at in (10.0**power, 3 * 10.0**power) if low <= at <= high]
    return inside if len(inside) > 1 else sorted({low, high})
