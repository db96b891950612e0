"""An embedded Valkey: TCP on 127.0.0.1 only, with a password, nothing kept on disk (Redis holds nothing that matters)."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from rowcast.children import Account, Child, start_child
from rowcast.embedded.binaries import valkey_program
from rowcast.embedded.ports import choose_port
from rowcast.embedded.server import EmbeddedServerError, Server, last_lines
from rowcast.folders import prepare_folder, server_account, write_private

_STOP = ((signal.SIGTERM, 5.0),)
_READY_WITHIN = 20.0
_TRIES = 4


def start_valkey(
    state_dir: Path,
    *,
    port: int | None = None,
    inherit: Sequence[int] = (),
    settings: Mapping[str, str] | None = None,
) -> Server:
    """A Valkey that answers; `port` None: the port of last time if it is free. `inherit` stays open in it; `settings` come after our own.

    Raises EmbeddedServerError with the end of the server's log. Blocks, for some hundredths of a second.
    """
    prepare_folder(state_dir)
    state = state_dir.absolute()
    account = server_account()
    program = valkey_program(state, account)
    folder = _folder(state, account)
    password = _password(state)
    log = state / "valkey.log"
    for attempt in range(_TRIES):
        chosen = port or choose_port(state / "valkey.port")
        write_private(folder / "valkey.conf", _configuration(folder, chosen, password, settings or {}), account)
        child = start_child(
            "valkey",
            [str(program), str(folder / "valkey.conf")],
            env={**os.environ, "LC_ALL": "C", "TZ": "UTC"},
            signals=_STOP,
            log=log,
            account=account,
            pass_fds=inherit,
            cwd="/",
        )
        if _wait_until_ready(child, chosen, password):
            return Server("valkey", f"redis://:{password}@127.0.0.1:{chosen}/0", chosen, child, log)
        time.sleep(0.1 * 2**attempt)
    raise EmbeddedServerError(f"Valkey did not start ({child.ended()}); the end of {log}:\n{last_lines(log)}")


def _folder(state: Path, account: Account | None) -> Path:
    folder = state / "valkey"
    folder.mkdir(mode=0o700, exist_ok=True)
    if account:
        os.chown(folder, account.uid, account.gid)
    return folder


def _password(state: Path) -> str:
    path = state / "valkey.password"
    if not path.is_file():
        write_private(path, secrets.token_hex(24) + "\n")
    return path.read_text("utf-8").strip()


def _configuration(folder: Path, port: int, password: str, settings: Mapping[str, str]) -> str:
    quoted = str(folder).replace("\\", "\\\\").replace('"', '\\"')
    lines = (
        "bind 127.0.0.1",
        f"port {port}",
        f"requirepass {password}",
        f'dir "{quoted}"',
        'save ""',
        "appendonly no",
        "daemonize no",
        *(f"{name} {value}" for name, value in settings.items()),
    )
    return "\n".join(lines) + "\n"


def _wait_until_ready(child: Child, port: int, password: str) -> bool:
    """True once it answers PING with our password; False if it ended instead (the port was taken from under it)."""
    deadline = time.monotonic() + _READY_WITHIN
    while child.alive():
        if _answers(port, password):
            return True
        if time.monotonic() > deadline:
            child.stop()
            raise EmbeddedServerError(f"Valkey was not ready in {_READY_WITHIN:.0f} seconds.")
        time.sleep(0.01)
    return False


def _answers(port: int, password: str) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(f"AUTH {password}\r\nPING\r\n".encode())
            answer = b""
            while answer.count(b"\r\n") < 2 and (more := connection.recv(256)):  # noqa: PLR2004 -- two commands, two lines
                answer += more
    except OSError:
        return False
    return answer == b"+OK\r\n+PONG\r\n"
