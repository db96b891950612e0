"""The figures in docs/performance.md and its picture, from docs/bench.json. `python -m tests.rowcast.bench_page` writes them."""

from __future__ import annotations

import json
import re

from rowcast.bench import plots
from rowcast.bench.figures import report_of
from rowcast.bench.tables import markdown
from tests.rowcast.reference import DOCS

PAGE = DOCS / "performance.md"
REPORT = DOCS / "bench.json"
PICTURE = DOCS / "performance.svg"

_MADE = re.compile(r"(<!-- made by `make bench-docs` -->\n).*?(<!-- to here -->\n)", re.DOTALL)


def page() -> str:
    """The page with what was measured between its two marks; as it is, if there is none."""
    return _MADE.sub(lambda marks: marks[1] + _figures() + marks[2], PAGE.read_text("utf-8"))


def picture() -> str:
    """All plots."""
    return plots.picture(report_of(json.loads(REPORT.read_text("utf-8"))))


def _figures() -> str:
    if not REPORT.is_file():
        return "\nNot measured for this version yet.\n\n"
    text = markdown(report_of(json.loads(REPORT.read_text("utf-8"))))
    return f"\n![Latency, and cost against streams and rows a second]({PICTURE.name})\n\n{text}\n"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
    PICTURE.write_text(picture(), "utf-8")
