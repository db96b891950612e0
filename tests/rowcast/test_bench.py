"""`rowcast bench` for real, in small: what it measures, what it says, and that nothing of it stays."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from rowcast.bench.names import MEASUREMENTS
from rowcast.bench.site import DATABASES
from rowcast.embedded import Server
from tests.db.databases import Databases
from tests.rowcast.ups import environment, eventually, gone, rowcast

RIVALS = {
    "latency": "p50, plain NOTIFY",
    "writers": "4 clients, no trigger",
    "fanout": "one row at a time, bare ASGI: CPU per event",
    "idle": "memory per idle stream, bare ASGI",
    "storm": "until all had what they missed, bare ASGI with no history",
}


@pytest.fixture
def servers(databases: Databases, valkey: Server) -> Iterator[dict[str, str]]:
    """The servers of the tests, for the settings; no database of a benchmark may be left on them."""
    yield _settings(databases.url, valkey)
    assert left(databases.url) == []


def _settings(url: str, valkey: Server) -> dict[str, str]:
    return {"ROWCAST_DATABASE_URL": url, "ROWCAST_REDIS_URL": valkey.url}


def left(url: str) -> list[str]:
    with psycopg.connect(url) as sql:
        rows = sql.execute("SELECT datname FROM pg_database WHERE datname LIKE %s", (DATABASES + "%",)).fetchall()
    return [name for (name,) in rows]


def quick(folder: Path, *what: str, **env: str) -> dict[str, Any]:
    done = rowcast("bench", *what, "--quick", "--rounds", "2", "--json", "-", cwd=folder, timeout=300, **env)
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def figures(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for outcome in report["outcomes"] for one in outcome["figures"]}


@pytest.mark.slow
def test_fanout_on_servers_of_ones_own(tmp_path: Path, servers: dict[str, str]) -> None:
    """Ours, the bare endpoint, the ceiling: each has a figure a round, with its unit; the machine and the versions are named."""
    report = quick(tmp_path, "fanout", "startup", **servers)
    assert [outcome["name"] for outcome in report["outcomes"]] == ["fanout", "startup"]
    assert int(report["machine"]["cores"]) > 0
    assert "embedded: none" in report["machine"]["servers"]
    assert {"postgres", "valkey", "python", "hypercorn", "psycopg", "rowcast"} <= report["versions"].keys()
    found = figures(report)
    for side in ("Rowcast", "bare ASGI", "ceiling", "pg-sse"):
        cost = found[f"one row at a time, {side}: CPU per event"]
        assert cost["unit"] == "µs"
        assert len(cost["values"]) == 2
        assert min(cost["values"]) > 0
    ceiling, ours = (found[f"bursts, {side}: events"]["median"] for side in ("ceiling", "Rowcast"))
    assert ceiling > ours, "the load is not what is measured"
    weights = [found[f"bytes per event, {side}"]["median"] for side in ("Rowcast", "bare ASGI")]
    assert weights[0] == pytest.approx(weights[1], rel=0.05), "they write the same"
    assert all(line["points"] for line in report["outcomes"][0]["plots"][0]["lines"])
    assert not (tmp_path / ".rowcast").exists(), "nothing stays"


@pytest.mark.slow
def test_ctrl_c_removes_everything(tmp_path: Path, servers: dict[str, str], databases: Databases) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "rowcast", "bench", "latency", "--quick", "--rounds", "100"],
        cwd=tmp_path,
        env=environment(**servers),
        stdout=subprocess.DEVNULL,
    )
    bench = psutil.Process(process.pid)
    eventually(lambda: len(bench.children(recursive=True)) > 8, within=60)
    everything = bench.children(recursive=True)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)  # an impatient one
    assert process.wait(30) == 1
    assert gone(everything)
    assert left(databases.url) == []
    assert not (tmp_path / ".rowcast").exists()


def test_a_role_that_may_make_no_database_is_told_what_to_do(
    tmp_path: Path, databases: Databases, valkey: Server
) -> None:
    with databases.login() as role:
        url = databases.address("postgres", user=role, password="test")
        done = rowcast(
            "bench", "fanout", "--quick", "--rounds", "1", cwd=tmp_path, timeout=60, **_settings(url, valkey)
        )
    assert done.returncode == 2
    assert "CREATEDB" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_all_of_it_on_servers_that_it_starts(tmp_path: Path) -> None:
    report = quick(tmp_path)
    assert [outcome["name"] for outcome in report["outcomes"]] == list(MEASUREMENTS)
    assert [outcome["not_run"] for outcome in report["outcomes"] if outcome["not_run"]] == []
    assert report["machine"]["servers"] == "embedded: Postgres, Valkey; fsync on, synchronous_commit on"
    found = figures(report)
    assert set(RIVALS.values()) <= found.keys()
    assert all(one["median"] >= 0 for name, one in found.items() if "above" not in name)
    for outcome in report["outcomes"]:
        assert any(one["goal"] for one in outcome["figures"]), f"{outcome['name']} has nothing to reach"
    assert {plot["title"] for outcome in report["outcomes"] for plot in outcome["plots"]} == {
        "Latency distribution",
        "Latency against rows a second (dashed: p50)",
        "CPU per event against streams",
        "Memory against streams",
    }
    assert not (tmp_path / ".rowcast").exists()


@pytest.mark.slow
def test_a_role_that_may_make_databases_needs_no_more(tmp_path: Path, databases: Databases, valkey: Server) -> None:
    with databases.login() as role, psycopg.connect(databases.url, autocommit=True) as sql:
        sql.execute(f"ALTER ROLE {role} CREATEDB")
        url = databases.address("postgres", user=role, password="test")
        report = quick(tmp_path, "writers", "claims", **_settings(url, valkey))
    assert [outcome["not_run"] for outcome in report["outcomes"]] == [[], []]
    assert left(databases.url) == []


@pytest.mark.slow
def test_fewer_streams_are_held_where_descriptors_are_few_and_it_says_so(
    tmp_path: Path, servers: dict[str, str]
) -> None:
    bench = [sys.executable, "-m", "rowcast", "bench", "idle", "--quick", "--rounds", "1", "--json", "-"]
    done = subprocess.run(
        ["sh", "-c", 'ulimit -n 260 && exec "$@"', "bench", *bench],
        cwd=tmp_path,
        env=environment(**servers),
        capture_output=True,
        timeout=100,
        check=True,
    )
    report = json.loads(done.stdout)
    assert report["outcomes"][0]["not_run"] == [
        "100 streams on one process: this machine allows 260 descriptors (ulimit -n)"
    ]
    held = figures(report)["open on one process"]
    assert (held["median"], held["reached"]) == (60, False)


@pytest.mark.slow
def test_what_a_killed_benchmark_left_is_named(tmp_path: Path, databases: Databases, valkey: Server) -> None:
    name = DATABASES + "of_another"
    with psycopg.connect(databases.url, autocommit=True) as sql:
        sql.execute(f"CREATE DATABASE {name}")
        try:
            done = rowcast("bench", "startup", "--quick", cwd=tmp_path, timeout=60, **_settings(databases.url, valkey))
        finally:
            sql.execute(f"DROP DATABASE {name}")
    assert name in done.stdout
