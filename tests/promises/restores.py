"""Dumps and their restore, as an operator makes them, and what clients of every age saw of it."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Sequence
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from rowcast.embedded.binaries import postgres_programs
from tests.event_source import EventSource


async def dump(address: str, file: Path) -> None:
    """pg_dump of the whole database."""
    await _run("pg_dump", address, "--format=custom", f"--file={file}")


async def restore(address: str, file: Path, *options: str) -> None:
    """pg_restore into the database as it stands."""
    await _run("pg_restore", address, *options, str(file))


async def _run(program: str, address: str, *arguments: str) -> None:
    path = postgres_programs(Path("/nonexistent"), None) / program
    password = str(conninfo_to_dict(address).get("password", ""))
    command: list[str | Path] = [path, *arguments[:-1], f"--dbname={address}", *arguments[-1:]]
    running = await asyncio.create_subprocess_exec(*command, env={"PGPASSWORD": password}, stderr=subprocess.PIPE)
    _, complaint = await running.communicate()
    assert running.returncode == 0, complaint.decode()


def reasons(stream: EventSource) -> list[str]:
    """Why it was reset, each time."""
    return [event.json["reason"] for event in stream.of_type("reset")]


def never_twice(streams: Sequence[EventSource]) -> None:
    """No seq was used for two rows, on whatever stream; and on each of them positions only ever rose."""
    rows: dict[str, str] = {}
    for stream in streams:
        for event in stream.notifications:
            assert rows.setdefault(event.last_event_id, event.data) == event.data, event.last_event_id
        positions = [int(event.last_event_id) for event in stream.events]
        assert positions == sorted(positions)
        seqs = [event.last_event_id for event in stream.notifications]
        assert len(seqs) == len(set(seqs))
