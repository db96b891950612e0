"""The judgement after Postgres forgot: a standby was promoted that had not got the end of what was committed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from tests.event_source import EventSource
from tests.promises.load import KEY, Load
from tests.waiting import until


@dataclass(frozen=True, slots=True)
class Kept:
    """A row of the table as it is now."""

    id: int
    user: int | None
    message: str
    seq: int | None


@dataclass
class Forgetting:
    """`lost`: messages that streams were given and that the table no longer has."""

    load: Load
    table: dict[str, Kept]

    @property
    def lost(self) -> set[str]:
        given = {event.json["message"] for stream in self.load.streams for event in stream.notifications}
        return given - self.table.keys()

    def judge(self) -> None:
        """I1 against what is left, I2, I3, I9, and that no seq was ever given to two rows."""
        owners: dict[int, str] = {row.seq: row.message for row in self.table.values() if row.seq is not None}
        for stream in self.load.streams:
            self._judge_stream(stream)
            for event in stream.notifications:
                message = event.json["message"]
                owner = owners.setdefault(int(event.last_event_id), message)
                assert owner == message, f"seq {event.last_event_id} is of row {owner} and was given to row {message}"

    def _judge_stream(self, stream: EventSource) -> None:
        seqs = [int(event.last_event_id) for event in stream.notifications]
        assert seqs == sorted(set(seqs)), f"{stream.url}: seq falls, or comes twice"
        given: dict[str, list[int]] = {}
        for event in stream.notifications:
            given.setdefault(event.json["message"], []).append(int(event.last_event_id))
        due = {row.message: row.seq for row in self.table.values() if row.user in (None, user_of(stream))}
        missing = due.keys() - given.keys()
        assert not missing, f"{stream.url} lacks {sorted(missing)[:10]} of {len(due)}"
        for message, seq in due.items():
            # A row that was kept while its stamp was lost comes again under a new one, and that is the only excuse.
            assert given[message][-1] == seq, f"row {message} has seq {seq} and was given as {given[message]}"
            assert len(given[message]) <= 2
        for message in given.keys() - due.keys():
            assert len(given[message]) == 1, f"row {message} is gone and was given as {given[message]}"
        assert {event.json["reason"] for event in stream.of_type("reset")} <= {"future"}


async def forgetting(load: Load) -> Forgetting:
    """Once the writer has stopped and every stream has the last row: what is left, to be judged."""
    table: dict[str, Kept] = {}

    async def all_stamped() -> bool:
        table.clear()
        table.update(await _table(load))
        return all(row.seq is not None for row in table.values())

    await until(all_stamped, timeout=20)
    found = Forgetting(load, table)
    for stream in load.streams:
        due = {row.message for row in table.values() if row.user in (None, user_of(stream))}
        try:
            await stream.until(lambda due=due, stream=stream: due <= set(stream.messages), timeout=20)  # type: ignore[misc]
        except TimeoutError:
            found.judge()
    await asyncio.sleep(0.5)  # what comes twice comes soon; nothing tells that nothing more comes
    return found


async def _table(load: Load) -> dict[str, Kept]:
    async with load.own.sql() as sql:
        rows: list[Any] = await (
            await sql.execute("SELECT id, user_id, message, seq FROM notifications WHERE key = %s", (KEY,))
        ).fetchall()
    return {row[2]: Kept(*row) for row in rows}


def user_of(stream: EventSource) -> int:
    """Whose stream it is."""
    return int(stream.url.partition("/events/")[2].partition("?")[0])
