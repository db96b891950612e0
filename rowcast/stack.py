"""What `up` runs: the addresses, a place for each process, and the files that tell others about them."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.user_ids import UserIdType
from rowcast.children import Child, start_child
from rowcast.folders import write_private
from rowcast.keeper import Place
from rowcast.possession import Possession
from rowcast.settings import SECRETS, Settings, variable
from rowcast.sockets import http_address
from rowcast.workers import STOP, web_arguments

Say = Callable[[str], None]


@dataclass(slots=True)
class Stack:
    """What runs, or is about to: addresses, places, and where they are written down."""

    settings: Settings
    possession: Possession
    sockets: list[socket.socket]
    say: Say
    key_file: Path | None = None
    database_url: str = ""
    redis_url: str = ""
    user_id_type: UserIdType = UserIdType.BIGINT
    ready: bool = False
    postgres: Place | None = None
    valkey: Place | None = None
    bridge: list[Place] = field(default_factory=list)
    web: list[Place] = field(default_factory=list)
    _ports: dict[str, int] = field(default_factory=dict)
    _prepared: dict[str, Child] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.database_url, self.redis_url = self.settings.database_url, self.settings.redis_url
        if not self.database_url:
            self.postgres = Place("postgres", self._start_postgres)
        if not self.redis_url:
            self.valkey = Place("valkey", self._start_valkey)
        self.bridge = [self._place("bridge")]
        names = (
            ["web"]
            if self.settings.workers == 1
            else [f"web {number}" for number in range(1, self.settings.workers + 1)]
        )
        self.web = [self._place(name) for name in names]

    @property
    def web_url(self) -> str:
        return http_address(self.sockets[0])

    @property
    def servers(self) -> list[Place]:
        return [place for place in (self.postgres, self.valkey) if place]

    @property
    def places(self) -> list[Place]:
        """All, in the order of starting."""
        return [*self.servers, *self.bridge, *self.web]

    def report(self) -> dict[str, Any]:
        """What the ready file says."""
        return {
            "web_url": self.web_url,
            "database_url": self.database_url,
            "redis_url": self.redis_url,
            "pids": {
                "up": os.getpid(),
                "postgres": self.postgres.pid if self.postgres else None,
                "valkey": self.valkey.pid if self.valkey else None,
                "bridge": [place.pid for place in self.bridge],
                "web": [place.pid for place in self.web],
            },
        }

    def write_report(self) -> None:
        """Write the ready file, and up.json for `send`, `tail` and `token`, each whole; nothing before everything is ready."""
        if not self.ready:
            return
        if self.settings.ready_file:
            write_private(self.settings.ready_file, json.dumps(self.report(), indent=2) + "\n")
        found_by_commands = self.report() | {"jwt_key_file": str(self.key_file) if self.key_file else None}
        write_private(self.possession.folder / "up.json", json.dumps(found_by_commands, indent=2) + "\n")

    def remove_report(self) -> None:
        for path in self._report_files():
            path.unlink(missing_ok=True)

    def _report_files(self) -> list[Path]:
        own = self.possession.folder / "up.json"
        return [own, self.settings.ready_file] if self.settings.ready_file else [own]

    def _start_postgres(self) -> Child:
        from rowcast.embedded import start_postgres  # noqa: PLC0415 -- an extra: not there where servers of one's own are used

        server = start_postgres(
            self.possession.folder, port=self._ports.get("postgres"), inherit=[self.possession.children_lock]
        )
        self.database_url, self._ports["postgres"] = server.url, server.port
        return server.child

    def _start_valkey(self) -> Child:
        from rowcast.embedded import start_valkey  # noqa: PLC0415

        server = start_valkey(
            self.possession.folder, port=self._ports.get("valkey"), inherit=[self.possession.children_lock]
        )
        self.redis_url, self._ports["valkey"] = server.url, server.port
        return server.child

    def _place(self, name: str) -> Place:
        return Place(name, lambda: self._start_prepared(name))

    def prepare(self) -> None:
        """Let bridge and web load their code already; each waits to be filled into its place."""
        for place in (*self.bridge, *self.web):
            self._prepared[place.name] = self._prepared_child(place.name)

    def discard_prepared(self) -> None:
        """Stop what was prepared and never filled in."""
        while self._prepared:
            self._prepared.popitem()[1].stop()

    def _start_prepared(self, name: str) -> Child:
        child = self._prepared.pop(name, None) or self._prepared_child(name)
        told = {"database_url": self.database_url, "redis_url": self.redis_url}
        if not name.startswith("bridge"):
            told["jwt_key"] = self.settings.jwt_key
        child.tell(json.dumps({variable(key): value for key, value in told.items()}))
        return child

    def _prepared_child(self, name: str) -> Child:
        arguments = ["bridge"] if name == "bridge" else web_arguments(self.sockets)
        sockets = [] if name == "bridge" else [made.fileno() for made in self.sockets]
        return start_child(
            name,
            [sys.executable, "-P", "-m", "rowcast.prepared", *arguments],
            env=self._child_environment(),
            signals=STOP,
            pass_fds=[*sockets, self.possession.children_lock],
            listens=True,
        )

    def _child_environment(self) -> dict[str, str]:
        """What bridge and web are told; only warnings of theirs go to our terminal unless a level was asked for. No TLS: we serve loopback."""
        level = self.settings.log_level if self.settings.chosen("log_level") else "warning"
        ours = dict.fromkeys(SECRETS, "") | {"auth": self.settings.auth or "off", "certfile": None, "keyfile": None}
        return self.settings.child_environment(**ours, workers=1, log_level=level)
