"""The sizing table of docs/scaling.md, computed from the inputs that the same page lists. `python -m tests.sizing` writes it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from tests.parts import ROOT

PAGE = ROOT / "docs" / "scaling.md"
SIZES = (10_000, 1_000_000, 10_000_000)
_INPUT = re.compile(r"^\| `(\w+)` \| ([\d.,]+) \|", re.MULTILINE)
_TABLE = re.compile(r"(?<=<!-- sizing -->\n).*?(?=<!-- end of sizing -->)", re.DOTALL)
_SECONDS_PER_HOUR = 3600
_MILLION = 1e6


@dataclass(frozen=True, slots=True)
class Size:
    """What so many connected users need; connections and rows are each log's."""

    users: int
    rows: float
    logs: int
    web: int
    cores: float
    memory: float
    connections: int
    wal: float
    nodes: int
    storm: float


def inputs(page: str) -> dict[str, float]:
    """Each input by its name."""
    return {name: float(figure.replace(",", "")) for name, figure in _INPUT.findall(page)}


def sequencer(given: dict[str, float]) -> dict[str, float]:
    """Rows a second that each resource of one log allows."""
    batch = given["batch"]
    return {
        "writers' commits": given["commits"] * given["rows_per_commit"],
        "claim session": _MILLION * batch / (given["claim_commit"] + batch * given["claim_row"]),
        "reader session": _MILLION / given["body_row"],
        "bridge process": _MILLION / given["bridge_row"],
        "one Redis": _MILLION / given["redis_row"],
        "disk for WAL": _MILLION * given["wal_disk"] / (given["insert_wal"] + given["claim_wal"]),
    }


def size(users: int, given: dict[str, float]) -> Size:
    """For so many users who are connected all at once."""
    used = given["used"] / 100
    rows = users * given["rows_per_user"] / _SECONDS_PER_HOUR
    logs = math.ceil(rows / (min(sequencer(given).values()) * used))
    work = (users * given["idle_stream"] + rows * given["event"]) / _MILLION
    web = max(math.ceil(users / given["streams"]), math.ceil(work / used), logs)
    carried = rows * given["redis_row"] / _MILLION / used
    return Size(
        users=users,
        rows=rows,
        logs=logs,
        web=web,
        cores=work,
        memory=users * given["stream"] / 1024 / 1024,
        connections=math.ceil(web / logs) * int(given["pool"] + given["beside_pool"]) + int(given["bridge_sessions"]),
        wal=rows / logs * (given["insert_wal"] + given["claim_wal"]) / _MILLION,
        nodes=math.ceil(carried),
        storm=users / web * given["opening"] / _MILLION,
    )


def table(given: dict[str, float]) -> str:
    """The two tables, as Markdown."""
    limits = sequencer(given)
    first = min(limits, key=lambda name: limits[name])
    lines = ["| what may end first | rows/s |", "|---|---:|"]
    lines += [f"| {name}{' (this does)' if name == first else ''} | {_two(rows)} |" for name, rows in limits.items()]
    sizes = [size(users, given) for users in SIZES]
    rows = {
        "rows a second": [_two(one.rows) for one in sizes],
        "logs (a Postgres and a bridge each)": [f"{one.logs:,}" for one in sizes],
        "web processes": [f"{one.web:,}" for one in sizes],
        "cores they keep busy": [f"{one.cores:,.1f}" for one in sizes],
        "memory of their streams, GiB": [f"{one.memory:,.1f}" for one in sizes],
        "sessions with each Postgres, at most": [f"{one.connections:,}" for one in sizes],
        "WAL of each log, MB/s": [f"{one.wal:,.2f}" for one in sizes],
        "Redis nodes that the rows keep busy": [f"{one.nodes:,}" for one in sizes],
        "seconds until all are back after all were cut off": [f"{one.storm:,.0f}" for one in sizes],
    }
    lines += ["", "| connected users | " + " | ".join(f"{users:,}" for users in SIZES) + " |"]
    lines += ["|---" + "|---:" * len(SIZES) + "|"]
    lines += [f"| {name} | " + " | ".join(cells) + " |" for name, cells in rows.items()]
    return "\n".join(["", *lines, "", ""])


def _two(figure: float) -> str:
    """Two digits: no input is more exact."""
    digits = 1 - math.floor(math.log10(figure))
    return f"{round(figure, digits):,.{max(0, digits)}f}"


def computed(page: str) -> str:
    """The page with its tables made anew."""
    return _TABLE.sub(lambda _: table(inputs(page)), page)


if __name__ == "__main__":
    PAGE.write_text(computed(PAGE.read_text()))
