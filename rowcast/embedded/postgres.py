"""An embedded Postgres: TCP on 127.0.0.1 only, a password for everybody, every commit flushed to disk.

The folder `postgres` below the state folder is complete or not there at all: initdb works beside it and the result is renamed.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rowcast.children import Account, Child, start_child
from rowcast.embedded.binaries import postgres_programs
from rowcast.embedded.ports import choose_port
from rowcast.embedded.postmaster import clear_stale_lock, wait_until_ready
from rowcast.embedded.server import EmbeddedServerError, Server, last_lines
from rowcast.folders import prepare_folder, server_account, write_private

OWNER = DATABASE = "rowcast"
# SIGINT is the fast shutdown: sessions end, transactions roll back, a checkpoint is written.
_STOP = ((signal.SIGINT, 10.0), (signal.SIGQUIT, 5.0))
_READY_WITHIN = 60.0
_TRIES = 4
_BUILTIN_LOCALES_SINCE = 17
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "max_wal_size": "512MB",
    "log_line_prefix": "%m [%p] %a ",
    "log_timezone": "UTC",
    "timezone": "UTC",
}


@dataclass(frozen=True, slots=True)
class _Site:
    """Where one server lives and who it runs as."""

    state: Path
    programs: Path
    account: Account | None
    inherit: Sequence[int]

    @property
    def data(self) -> Path:
        return self.state / "postgres"

    @property
    def log(self) -> Path:
        return self.state / "postgres.log"

    def start(self, program: str, *arguments: str, **env: str) -> Child:
        """Start one of its programs; `inherit` stays open in it and in all it starts."""
        return start_child(
            program,
            [str(self.programs / program), *arguments],
            env=_environment() | env,
            signals=_STOP,
            log=self.log,
            account=self.account,
            pass_fds=self.inherit,
            cwd="/",
        )


def start_postgres(
    state_dir: Path,
    *,
    port: int | None = None,
    settings: Mapping[str, str] | None = None,
    inherit: Sequence[int] = (),
    programs: Path | None = None,
) -> Server:
    """A Postgres that accepts connections, its data in `state_dir`/postgres, made when there is none; `url` is its superuser's.

    `port` None: the port of last time if it is free. `settings` go over ours as `-c name=value`. `programs` is the bin folder of
    another Postgres than the wheel's. Raises EmbeddedServerError with the end of the server's log. Blocks, for about a second
    the first time.
    """
    prepare_folder(state_dir)
    account = server_account()
    site = _Site(state_dir.absolute(), programs or postgres_programs(state_dir, account), account, inherit)
    password = _password(site)
    if not site.data.is_dir():
        _initialise(site, password)
    _check_owner(site)
    clear_stale_lock(site.data)
    child, port = _start_with_retries(site, site.data, port, _SETTINGS | dict(settings or {}))
    return Server("postgres", f"postgresql://{OWNER}:{password}@127.0.0.1:{port}/{DATABASE}", port, child, site.log)


def _environment() -> dict[str, str]:
    """Ours without PG*, so that no Postgres of the machine is meant, and with the same locale and time zone everywhere."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {
        "LC_ALL": "C",
        "TZ": "UTC",
    }


def _password(site: _Site) -> str:
    path = site.state / "postgres.password"
    if path.is_file():
        return path.read_text("utf-8").strip()
    if site.data.is_dir():
        raise EmbeddedServerError(
            f"{site.data} has data but its password file {path} is gone: put it back, or move the folder away to start empty."
        )
    password = secrets.token_hex(24)
    write_private(path, password + "\n")
    return password


def _initialise(site: _Site, password: str) -> None:
    """Make the data with our database in it beside its place, then rename it: a crash on the way leaves nothing half done."""
    for left_over in site.state.glob("postgres.new-*"):
        shutil.rmtree(left_over, ignore_errors=True)
    making = site.state / f"postgres.new-{os.getpid()}"
    making.mkdir(mode=0o700)
    if site.account:
        os.chown(making, site.account.uid, site.account.gid)
    with _password_file(site, password) as password_file:
        _run(
            site,
            "initdb",
            *("-D", str(making), "-U", OWNER, "-E", "UTF8", "-A", "scram-sha-256", f"--pwfile={password_file}"),
            *("--locale=C", *_locale_provider(site.programs), "--no-sync", "--no-instructions"),
        )
    child, port = _start_with_retries(site, making, None, _SETTINGS | {"fsync": "off"})
    try:
        _run(
            site,
            "createdb",
            "-h",
            "127.0.0.1",
            "-p",
            str(port),
            "-U",
            OWNER,
            "--maintenance-db=template1",
            DATABASE,
            PGPASSWORD=password,
        )
    finally:
        child.stop()
    making.rename(site.data)


def _run(site: _Site, program: str, *arguments: str, **env: str) -> None:
    """Run one of Postgres's tools to its end; raises EmbeddedServerError unless that is exit status 0."""
    child = site.start(program, *arguments, **env)
    try:
        child.process.wait(_READY_WITHIN)
    except subprocess.TimeoutExpired as error:
        raise EmbeddedServerError(f"{program} did not end in {_READY_WITHIN:.0f} seconds.") from error
    finally:
        child.stop()
    if child.process.returncode != 0:
        raise EmbeddedServerError(f"{program} failed ({child.ended()}); the end of {site.log}:\n{last_lines(site.log)}")


@contextmanager
def _password_file(site: _Site, password: str) -> Iterator[Path]:
    """The password where initdb's account can read it, for as long as initdb takes."""
    path = site.state / f"initdb.password-{os.getpid()}"
    write_private(path, password + "\n", site.account)
    try:
        yield path
    finally:
        path.unlink()


def _locale_provider(programs: Path) -> list[str]:
    """UTF-8 rules of Postgres's own where it has them (17 and newer): the same on every machine."""
    told = subprocess.run([programs / "postgres", "--version"], capture_output=True, text=True, check=True).stdout  # noqa: S603
    version = re.search(r"\d+", told)
    builtin = version is not None and int(version[0]) >= _BUILTIN_LOCALES_SINCE
    return ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"] if builtin else []


def _check_owner(site: _Site) -> None:
    wanted = site.account.uid if site.account else os.geteuid()
    owner = site.data.stat().st_uid
    if owner != wanted:
        raise EmbeddedServerError(
            f"{site.data} belongs to uid {owner}, and Postgres would run as uid {wanted}: run rowcast as before, or give another --data-dir."
        )


def _start_with_retries(site: _Site, data: Path, port: int | None, settings: Mapping[str, str]) -> tuple[Child, int]:
    """Start it, again if it ends at once: the port may be lost to another program between looking and listening, and the sessions of a
    postmaster that was killed need a moment to let go of its memory."""
    remembered = site.state / "postgres.port"
    for attempt in range(_TRIES):
        time.sleep(0.1 * 2**attempt if attempt else 0)
        chosen = port or choose_port(remembered)
        options = [
            part for name, value in {**settings, "port": str(chosen)}.items() for part in ("-c", f"{name}={value}")
        ]
        child = site.start("postgres", "-D", str(data), *options)
        try:
            if wait_until_ready(data, child, within=_READY_WITHIN):
                return child, chosen
        except BaseException:
            child.stop()
            raise
    raise EmbeddedServerError(
        f"Postgres did not start ({child.ended()}); the end of {site.log}:\n{last_lines(site.log)}"
    )
