"""`rowcast up --auth jwt`: who has no token sees nothing, and whoever runs it needs to set nothing."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import jwt
import pytest

from core.clock import SystemClock
from rowcast.address import find_up
from rowcast.minting import Order, make_token
from rowcast.own_key import with_key_of_up
from rowcast.settings import load
from tests.rowcast.test_send_and_tail import next_line, tail
from tests.rowcast.ups import Up, rowcast, up
from tests.servers import folder
from web.auth.caller import Scope

JWT = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+")


@pytest.fixture(scope="module")
def running() -> Iterator[Up]:
    with folder() as path, up(path, "--auth", "jwt") as started:
        started.wait_ready()
        started.said("Insert")
        yield started


@pytest.fixture
def place() -> Iterator[Path]:
    with folder() as path:
        yield path


def key_file(running: Up) -> Path:
    """As `send`, `tail` and `token` find it."""
    settings, _ = load({"data_dir": str(running.folder / ".rowcast")})
    return Path(find_up(settings)["jwt_key_file"])


def printed_token(running: Up) -> str:
    [token] = [line.strip() for line in running.lines if JWT.fullmatch(line.strip())]
    return token


def own_token(running: Up, user: str, scope: Scope, ttl: float) -> str:
    """One that is made with the key of that `up`, as others make theirs."""
    settings, _ = load({"data_dir": str(running.folder / ".rowcast")})
    settings = with_key_of_up(settings, find_up(settings))
    return make_token(settings, Order(user, frozenset({scope}), ttl, "a-test"), SystemClock().time())


def test_the_token_that_it_prints_opens_the_stream_of_user_1_and_nothing_else(running: Up) -> None:
    url, header = running.report()["web_url"], {"Authorization": f"Bearer {printed_token(running)}"}
    assert httpx.get(f"{url}/notifications?user_id=1", trust_env=False).status_code == 401
    assert httpx.get(f"{url}/notifications?user_id=2", headers=header, trust_env=False).status_code in {403, 404}
    assert httpx.get(f"{url}/notifications?user_id=1", headers=header, trust_env=False).status_code == 200
    watch = running.said("Watch").split(None, 1)[1]
    with subprocess.Popen(["timeout", "20", "sh", "-c", f"exec {watch}"], stdout=subprocess.PIPE, text=True) as curl:
        assert curl.stdout is not None
        assert re.fullmatch(r"retry: \d+\n", curl.stdout.readline())
        curl.kill()


@pytest.mark.slow
def test_send_tail_and_token_need_no_settings_beside_it(running: Up) -> None:
    with tail("7", cwd=running.folder) as following:
        sent = rowcast("send", "7", "hello", cwd=running.folder)
        assert sent.returncode == 0, sent.stderr
        assert next_line(following)["message"] == "hello"
    made = rowcast("token", "7", cwd=running.folder)
    assert made.returncode == 0, made.stderr
    with tail("7", "--since", "all", cwd=running.folder, ROWCAST_TOKEN=made.stdout.strip()) as following:
        assert next_line(following)["message"] == "hello"


def test_its_key_is_for_its_owner_alone_and_shows_in_no_list_of_processes(running: Up) -> None:
    assert key_file(running).stat().st_mode & 0o077 == 0
    key = key_file(running).read_text().strip()
    assert len(key) >= 32
    processes = running.everything()
    shown = [text for process in processes for text in (*process.cmdline(), *process.environ().values())]
    assert len(processes) > 4
    assert not [text for text in shown if key in text]
    assert not [line for line in running.lines if key in line]
    assert set(running.report()) == {"web_url", "database_url", "redis_url", "pids"}, "the form that others rely on"


def test_a_token_of_too_little_is_told_what_to_do(running: Up) -> None:
    wrong = own_token(running, "7", Scope.READ, ttl=60)
    for command, status in ((["send", "7", "hello"], "403"), (["tail", "8"], "40")):
        refused = rowcast(*command, cwd=running.folder, ROWCAST_TOKEN=wrong)
        assert refused.returncode == 1
        assert f"answered {status}" in refused.stderr
        assert "rowcast token" in refused.stderr
        assert "ROWCAST_TOKEN_FILE" in refused.stderr
        assert wrong not in refused.stderr


@pytest.mark.slow
def test_tail_ends_with_its_token_and_says_how_to_get_another(running: Up) -> None:
    """After the leeway that clocks are given."""
    short = own_token(running, "7", Scope.READ, ttl=3)
    ended = rowcast("tail", "7", "--since", "now", cwd=running.folder, ROWCAST_TOKEN=short)
    assert ended.returncode == 1
    assert "expired" in ended.stderr
    assert "rowcast token 7 --scope read" in ended.stderr
    assert ended.stderr.count("\n") == 1


@pytest.mark.slow
def test_the_key_is_kept_over_a_restart(place: Path) -> None:
    with up(place, "--auth", "jwt") as first:
        first.wait_ready()
        kept = key_file(first).read_bytes()
        token = own_token(first, "1", Scope.READ, ttl=600)
        first.end(signal.SIGKILL)
    with up(place, "--auth", "jwt") as second:
        url = second.wait_ready()["web_url"]
        assert key_file(second).read_bytes() == kept
        answer = httpx.get(
            f"{url}/notifications?user_id=1", headers={"Authorization": f"Bearer {token}"}, trust_env=False
        )
        assert answer.status_code == 200


@pytest.mark.slow
def test_a_key_of_ones_own_is_used_and_none_is_made(place: Path) -> None:
    key = "a secret of one's own, long enough to be taken"
    with up(place, "--auth", "jwt", ROWCAST_JWT_KEY=key) as started:
        url = started.wait_ready()["web_url"]
        started.said("Insert")
        printed = printed_token(started)
        assert jwt.decode(printed, key, algorithms=["HS256"])["sub"] == "1"
        header = {"Authorization": f"Bearer {printed}"}
        assert httpx.get(f"{url}/notifications?user_id=1", headers=header, trust_env=False).status_code == 200
        assert not list(place.glob(".rowcast/*.key"))
        sent = rowcast("send", "1", "hello", cwd=place, ROWCAST_JWT_KEY=key)
        assert sent.returncode == 0, sent.stderr
        refused = rowcast("send", "1", "hello", cwd=place)
        assert "answered 401" in refused.stderr


def test_a_key_that_cannot_be_used_is_told_before_anything_starts(place: Path) -> None:
    refused = rowcast("up", "--auth", "jwt", "--port", "0", cwd=place, ROWCAST_JWT_KEY="short")
    assert refused.returncode == 2
    assert "ROWCAST_JWT_KEY" in refused.stderr
    assert "short" not in refused.stderr
    assert not (place / ".rowcast").exists()
