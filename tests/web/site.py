"""The real app on a real port, over a real Postgres and with the rights that the web has when it is deployed."""

from __future__ import annotations

import asyncio
import queue
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, LiteralString, cast

import httpx
import psycopg
from prometheus_client import CollectorRegistry
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from core.clock import SystemClock
from core.user_ids import UserIdType
from db.connect import DatabaseConfig, open_pool, session
from db.outbox import NOTHING_HELD, SOURCES, claim
from db.revocations import RevocationList
from rowcast.serving import ServerName, serve_until
from rowcast.sockets import BACKLOG
from tests.parts import SERVER
from tests.waiting import running
from web.app import create_app
from web.auth.caller import Caller, Verifier
from web.auth.gate import Gate
from web.auth.revocations import RevocableVerifier, Revocations
from web.auth.revoked import Revoked
from web.config import WebConfig
from web.routes.events import events_blueprint
from web.routes.metrics import metrics_blueprint


@dataclass
class Marks:
    """What a hub would say of itself."""

    wrong: dict[str, str] = field(default_factory=dict)

    def ready(self) -> dict[str, str | None]:
        return {part: self.wrong.get(part) for part in ("redis", "rereads", "marks")}


@dataclass
class Site:
    """A running web: `url` of its root, `database` as its superuser, `http` a client at its root."""

    url: str
    database: str
    http: httpx.AsyncClient
    marks: Marks = field(default_factory=Marks)

    async def relay(self) -> None:
        """Do what the bridge does: give every committed row its place in the log."""
        async with session(self.database, name="bridge") as connection:
            await claim(connection, SOURCES[0], NOTHING_HELD, batch=10_000)

    async def sql(self, statement: LiteralString) -> None:
        """Run it as the owner of the table."""
        async with self.transaction(statement):
            pass

    @asynccontextmanager
    async def transaction(self, statement: LiteralString) -> AsyncIterator[None]:
        """The same, committed when the block ends."""
        async with await psycopg.AsyncConnection.connect(self.database) as connection:
            await connection.execute(statement)
            yield

    async def shut_database(self) -> None:
        """Let nobody in and throw everybody out."""
        await self._allow_connections(allowed=False)

    async def open_database(self) -> None:
        """The opposite."""
        await self._allow_connections(allowed=True)

    async def _allow_connections(self, *, allowed: bool) -> None:
        name = conninfo_to_dict(self.database)["dbname"]
        elsewhere = make_conninfo(self.database, dbname="postgres")
        async with await psycopg.AsyncConnection.connect(elsewhere, autocommit=True) as connection:
            statement = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
            await connection.execute(statement.format(sql.Identifier(str(name)), sql.Literal(allowed)))
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,)
            )

    async def post(self, body: Any) -> Any:
        """Insert over HTTP."""
        answer = await self.http.post("/notifications", json=body)
        assert answer.status_code == 201, answer.text
        return answer.json()

    async def list(self, user_id: object, **parameters: object) -> Any:
        """One page over HTTP."""
        query = {"user_id": user_id} | parameters
        answer = await self.http.get("/notifications", params={name: str(value) for name, value in query.items()})
        assert answer.status_code == 200, answer.text
        return answer.json()


async def _run(
    database: str,
    config: WebConfig,
    marks: Marks,
    verifier: Verifier | None,
    *,
    listener: socket.socket,
    stops: queue.Queue[Any],
) -> None:
    stop = asyncio.Event()
    stops.put((asyncio.get_running_loop(), stop))
    async with open_pool(DatabaseConfig(database), name="web") as pool, AsyncExitStack() as running_parts:
        revocations = None
        if verifier is not None:
            one = await running_parts.enter_async_context(open_pool(DatabaseConfig(database, 1), name="revocations"))
            revocations = Revocations(
                RevocationList(one, pool), Revoked(), SystemClock(), end_streams=_no_streams, ring=_nobody
            )
            await running_parts.enter_async_context(running(revocations.run()))
            verifier = RevocableVerifier(verifier, revocations)
        gate = Gate(config, verifier, SystemClock())
        blueprints = events_blueprint(config.user_id_type), metrics_blueprint(CollectorRegistry())
        app = create_app(config, gate, pool, marks, *blueprints, revocations=revocations)
        await serve_until(app, [listener], stop, server=cast(ServerName, SERVER))


def _no_streams(_: Callable[[Caller], bool], __: str) -> int:
    return 0


async def _nobody() -> None:
    """There is no other process to be told."""


@contextmanager
def serving(database: str, config: WebConfig, marks: Marks, verifier: Verifier | None = None) -> Iterator[str]:
    """The app in a thread of its own, so that tests that block can talk to it too; its URL. Auth is off without a verifier."""
    stops: queue.Queue[Any] = queue.Queue()
    listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    served = partial(_run, database, config, marks, verifier, listener=listener, stops=stops)
    thread = threading.Thread(target=lambda: asyncio.run(served()), name="web")
    thread.start()
    try:
        loop, stop = stops.get(timeout=10)
        yield url
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(timeout=15)
        listener.close()
        assert not thread.is_alive(), "the app did not stop"


CONFIGS = {kind: WebConfig(user_id_type=kind) for kind in UserIdType}
