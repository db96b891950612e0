"""The embedded servers: ours alone, and nothing a kill does to them lasts."""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from core.errors import RowcastError
from rowcast.children import Account
from rowcast.embedded import EmbeddedServerError, Server, start_postgres, start_valkey
from rowcast.embedded.binaries import postgres_programs, valkey_program
from rowcast.embedded.ports import choose_port, is_free
from rowcast.folders import reachable, server_account, write_private
from tests.rowcast.ups import eventually
from tests.servers import FAST, folder


@pytest.fixture
def state() -> Iterator[Path]:
    with folder() as path:
        yield path


def one(url: str, statement: bytes) -> object:
    with psycopg.connect(url) as session:
        row = session.execute(statement).fetchone()
        assert row is not None
        return row[0]


@pytest.fixture(scope="module")
def made() -> Iterator[Path]:
    """A folder with a Postgres that was made once: starting it again is quick."""
    with folder() as path:
        start_postgres(path, settings=FAST).stop()
        yield path


class TestPostgres:
    @pytest.fixture
    def state(self, made: Path) -> Path:
        return made

    @pytest.fixture
    def server(self, state: Path) -> Iterator[Server]:
        server = start_postgres(state, settings=FAST)
        yield server
        server.stop()

    def test_it_listens_on_loopback_only_and_wants_the_password(self, server: Server) -> None:
        addresses = {
            item.laddr.ip for item in psutil.Process(server.pid).net_connections() if item.status == psutil.CONN_LISTEN
        }
        assert addresses == {"127.0.0.1"}
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(server.url.replace("rowcast:", "rowcast:x"))

    def test_it_keeps_commits_and_its_port_when_killed(self, server: Server, state: Path) -> None:
        with psycopg.connect(server.url) as session:
            session.execute("CREATE TABLE kept AS SELECT 7 AS n")
        os.kill(server.pid, signal.SIGKILL)
        eventually(lambda: not server.alive())
        again = start_postgres(state, settings=FAST)
        try:
            assert again.url == server.url
            assert one(again.url, b"SELECT n FROM kept") == 7
        finally:
            again.stop()

    def test_a_lock_file_left_behind_is_no_obstacle(self, server: Server, state: Path) -> None:
        server.stop()
        for pid in ("1", "999999999", "not a pid", str(os.getpid())):
            (state / "postgres" / "postmaster.pid").write_text(
                f"{pid}\n{state}/postgres\n0\n5432\n\n127.0.0.1\n0\nready\n"
            )
            again = start_postgres(state, settings=FAST)
            again.stop()

    def test_a_postmaster_that_still_runs_on_the_data_is_shut_down_first(self, server: Server, state: Path) -> None:
        again = start_postgres(state, settings=FAST)
        try:
            assert not server.alive()
            assert server.child.ended() == "exit status 0"
        finally:
            again.stop()

    def test_commits_are_flushed_unless_a_caller_says_otherwise(self, state: Path) -> None:
        server = start_postgres(state)
        try:
            assert [one(server.url, b"SHOW fsync"), one(server.url, b"SHOW synchronous_commit")] == ["on", "on"]
            assert one(server.url, b"SHOW server_encoding") == "UTF8"
            assert one(server.url, b"SELECT upper('\xc3\xa9')") == "É"
        finally:
            server.stop()

    def test_the_environments_postgres_is_not_meant(self, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("PGDATA", "PGHOST", "PGPORT", "PGUSER", "PGOPTIONS"):
            monkeypatch.setenv(name, "nonsense")
        start_postgres(state, settings=FAST).stop()

    def test_a_setting_it_does_not_know_is_told_with_its_log(self, state: Path, server: Server) -> None:
        server.stop()
        with pytest.raises(EmbeddedServerError, match="no_such_setting"):
            start_postgres(state, settings={"no_such_setting": "1"})

    def test_data_without_its_password_is_not_touched(self, state: Path, server: Server) -> None:
        server.stop()
        password = (state / "postgres.password").rename(state / "elsewhere")
        with pytest.raises(EmbeddedServerError, match="password"):
            start_postgres(state)
        password.rename(state / "postgres.password")

    def test_passwords_are_for_their_owner_alone(self, state: Path, server: Server) -> None:
        assert stat.S_IMODE((state / "postgres.password").stat().st_mode) == 0o600
        assert not list(state.glob("initdb.password*"))


class TestValkey:
    def test_it_starts_empty_wants_the_password_and_keeps_its_port(self, state: Path) -> None:
        first = start_valkey(state)
        try:
            with redis.Redis.from_url(first.url) as client:
                client.set("a", "b")
            with (
                redis.Redis(port=first.port, retry=Retry(NoBackoff(), 0)) as stranger,
                pytest.raises(redis.AuthenticationError),
            ):
                stranger.ping()
        finally:
            os.kill(first.pid, signal.SIGKILL)
            eventually(lambda: not first.alive())
        second = start_valkey(state)
        try:
            assert second.url == first.url
            with redis.Redis.from_url(second.url) as client:
                assert client.get("a") is None
        finally:
            second.stop()


def test_the_port_of_last_time_is_taken_if_it_is_free(tmp_path: Path) -> None:
    remembered = tmp_path / "port"
    first = choose_port(remembered)
    assert choose_port(remembered) == first
    remembered.write_text("1\n" if os.geteuid() else "99999\n")
    assert choose_port(remembered) == first
    assert is_free(first)


def test_a_file_is_written_whole_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_private(path, "one")
    write_private(path, "two")
    assert path.read_text() == "two"
    assert [item.name for item in tmp_path.iterdir()] == ["file"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs servers as another account")
def test_programs_that_the_servers_account_cannot_reach_are_copied(
    made: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = server_account()
    assert account is not None
    closed = state / "closed"
    closed.mkdir(mode=0o700)
    assert not reachable(closed / "data", account)
    monkeypatch.setattr("rowcast.embedded.binaries.reachable", lambda path, account: False)
    programs = postgres_programs(state, account)
    assert programs.is_relative_to(state)
    assert valkey_program(state, account).is_relative_to(state)
    start_valkey(state).stop()
    start_postgres(made, settings=FAST, programs=programs).stop()


def test_root_without_an_account_for_servers_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(name: str) -> None:
        raise KeyError(name)

    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("pwd.getpwnam", unknown)
    with pytest.raises(RowcastError, match="ordinary user"):
        server_account()


def test_mode_bits_decide_who_may_enter(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    owner = inner.stat()
    stranger = Account("stranger", owner.st_uid + 1, owner.st_gid + 1)
    inner.chmod(0o700)
    assert not reachable(inner / "file", stranger)
    assert reachable(inner / "file", Account("owner", owner.st_uid, owner.st_gid)) == reachable(
        inner, Account("owner", owner.st_uid, owner.st_gid)
    )
