"""What `rowcast bench` writes: JSON that it reads back, a page and a picture that stand for themselves."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from core.errors import ConfigurationError
from rowcast.bench import plots
from rowcast.bench.figures import Line, Outcome, Plot, Report, at_most, report_of
from rowcast.bench.names import MEASUREMENTS
from rowcast.bench.page import page
from rowcast.bench.tables import markdown, summary
from tests.rowcast import bench_page
from tests.rowcast.ups import rowcast

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def report() -> Report:
    outcome = Outcome("latency", "INSERT <to> client", not_run=["pg-sse: not installed"])
    outcome.add("p50, Rowcast | a client", "ms", [2.0, 1.0, 3.0], at_most(3))
    outcome.add("p50, bare & plain", "ms", [0.5])
    outcome.plots.append(
        Plot(
            "Latency",
            "share",
            "ms",
            [Line("Rowcast", [(0.5, 2.0), (0.001, 9.0)]), Line("plain", [(0.5, 1.0)])],
            log_x=True,
        )
    )
    outcome.plots.append(
        Plot(
            "Cost",
            "streams",
            "µs",
            [Line("Rowcast", [(100, 2.0), (4000, 9.0)]), Line("plain", [(100, 1.5)], dashed=True)],
        )
    )
    return Report({"cores": "2"}, {"python": "3.11"}, 3, False, [outcome])


def test_json_has_every_value_and_comes_back_as_it_was(report: Report) -> None:
    plain = json.loads(json.dumps(report.to_json()))
    first = plain["outcomes"][0]["figures"][0]
    assert first == {
        "name": "p50, Rowcast | a client",
        "unit": "ms",
        "values": [2.0, 1.0, 3.0],
        "goal": {"bound": "at most", "value": 3},
        "median": 2.0,
        "low": 1.0,
        "high": 3.0,
        "reached": True,
    }
    assert report_of(plain) == report


def test_the_page_is_well_formed_and_names_no_other_host(report: Report) -> None:
    text = page(report)
    tree = ET.fromstring(text.removeprefix("<!DOCTYPE html>\n"))
    assert len(tree.findall(f".//{SVG}svg")) == 2
    assert "INSERT &lt;to&gt; client" in text
    assert "Not run: pg-sse" in text
    assert stands_for_itself(text)


def test_the_picture_has_all_plots_side_by_side(report: Report) -> None:
    text = plots.picture(report)
    drawn = ET.fromstring(text)
    assert (drawn.get("width"), drawn.get("height")) == ("1520", "480")
    said = [one.text for one in drawn.iter(f"{SVG}text")]
    assert [said.count(word) for word in ("Latency", "Cost", "Rowcast", "streams", "µs", "0.001", "4,000")] == [
        1,
        1,
        2,
        1,
        1,
        1,
        1,
    ]
    assert stands_for_itself(text)


def stands_for_itself(text: str) -> bool:
    without_names = re.sub(r'xmlns(:\w+)?="[^"]*"', "", text)
    return not re.search(r"https?:|<script|@import|url\(", without_names)


def test_without_leather_there_is_a_sentence_and_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "leather", None)
    with pytest.raises(ConfigurationError, match=r"rowcast\[bench\]"):
        plots.require_leather()


def test_the_tables_say_what_was_reached(report: Report) -> None:
    assert "| latency: p50, Rowcast \\| a client | 2 ms (1 to 3) | ≤ 3 ms | reached |" in markdown(report)
    assert "Not run: pg-sse: not installed" in markdown(report)
    [line] = summary(report)
    assert line.split() == [
        "latency",
        "p50,",
        "Rowcast",
        "|",
        "a",
        "client",
        "2",
        "ms",
        "(1",
        "to",
        "3)",
        "≤",
        "3",
        "ms",
        "reached",
    ]


def test_an_earlier_run_is_drawn_without_measuring(report: Report, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps(report.to_json()))
    done = rowcast("bench", "--read", "run.json", "--markdown", "-", "--html", "run.html", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, markdown(report))
    assert (tmp_path / "run.html").read_text("utf-8") == page(report)


@pytest.mark.parametrize("text", ["", "[]", '{"machine": {}}'])
def test_what_is_no_report_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text(text)
    done = rowcast("bench", "--read", "other.json", "--json", "-", cwd=tmp_path)
    assert done.returncode == 2
    assert "is not what `rowcast bench --json` writes" in done.stderr


def test_every_measurement_is_named_in_the_help(tmp_path: Path) -> None:
    text = rowcast("bench", "--help", cwd=tmp_path).stdout
    assert [name for name in MEASUREMENTS if name not in text] == []


def test_docs_show_what_was_measured() -> None:
    assert bench_page.PAGE.read_text("utf-8") == bench_page.page(), "run `python -m tests.rowcast.bench_page`"
    if bench_page.REPORT.is_file():
        assert bench_page.PICTURE.read_text("utf-8") == bench_page.picture()
