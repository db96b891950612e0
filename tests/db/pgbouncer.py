"""A real PgBouncer before a server, in either of its modes."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from rowcast.children import Child, start_child
from rowcast.embedded.ports import choose_port
from rowcast.folders import server_account, write_private
from tests.parts import require
from tests.servers import folder

_CONFIG = """\
[databases]
* = host={host} port={port} user={user} password={password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {own_port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
default_pool_size = {size}
"""


@contextmanager
def pgbouncer(address: str, *, mode: str, size: int = 5) -> Iterator[str]:
    """The address that leads to the same database by way of a PgBouncer (`mode`: "session" or "transaction")."""
    program = require("pgbouncer")
    target = conninfo_to_dict(address)
    account = server_account()
    with folder() as state:
        port = choose_port(state / "port")
        config = state / "pgbouncer.ini"
        write_private(config, _CONFIG.format(**target, own_port=port, mode=mode, size=size), account)
        log = state / "log"
        child = start_child(
            "pgbouncer",
            [str(program), str(config)],
            env=dict(os.environ),
            signals=((signal.SIGTERM, 5.0),),
            log=log,
            account=account,
        )
        try:
            _wait_for_port(port, child)
            yield make_conninfo(address, host="127.0.0.1", port=port)
        finally:
            child.stop()


def _wait_for_port(port: int, child: Child) -> None:
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            assert child.alive(), "pgbouncer ended at once"
        else:
            return
