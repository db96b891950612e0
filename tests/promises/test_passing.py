"""A mass of rows from one statement, and rows of others that pass it: each stream still has its own once and in order, whoever dies meanwhile."""

from __future__ import annotations

import signal

import pytest

from tests.event_source import EventSource
from tests.promises.load import KEY, open_streams, under_load, user_of
from tests.rig import Process, Rig
from tests.waiting import until

MASS = 20_000
# Whose rows the mass is; the load is for others.
USERS = (4, 5)
TAKEOVER = 15.0
LAST = "for everyone, after the mass"


@pytest.mark.parametrize(
    "fault", ["none", *(pytest.param(fault, marks=pytest.mark.slow) for fault in ("leader killed", "leader ended"))]
)
async def test_rows_of_others_pass_a_mass(own: Rig, fault: str) -> None:
    leader = await own.bridge()
    await leader.logged("leader.leading")
    urls = [(await own.web())[0] for _ in range(2)]
    addresses = [f"{url}/events/{user}" for url in urls for user in USERS]
    async with under_load(own, *urls, everyone=None) as load, open_streams(addresses) as streams:
        for stream in streams:
            await stream.live()
        await _insert_mass(own)
        number = load.writer.number
        await streams[0].until(lambda: len(streams[0].notifications) > MASS / 20)
        await _befall(own, fault, leader)
        for stream in streams:
            await stream.until(lambda stream=stream: len(stream.notifications) >= MASS / 2, timeout=60)  # type: ignore[misc]
        await until(lambda: load.writer.number > 500)
        assert await _passed(own, number)
        await _judge(own, streams)


@pytest.mark.slow
async def test_a_row_for_everyone_is_passed_by_nobody(own: Rig) -> None:
    """It shares a stream with each row of the mass, and with each row of others that comes after it."""
    await own.bridge()
    url, _ = await own.web()
    async with under_load(own, url, everyone=2), open_streams([f"{url}/events/{user}" for user in USERS]) as streams:
        for stream in streams:
            await stream.live()
        await _insert_mass(own)
        await own.insert(None, LAST)
        for stream in streams:
            await stream.until(lambda stream=stream: LAST in stream.messages, timeout=60)  # type: ignore[misc]
            messages = stream.messages[: stream.messages.index(LAST)]
            mass = [int(message.removeprefix("mass ")) for message in messages if message.startswith("mass ")]
            assert mass == [i for i in range(1, MASS + 1) if USERS[0] + i % 2 == user_of(stream)]


async def _insert_mass(own: Rig) -> None:
    async with own.sql() as sql:
        await sql.execute(
            "INSERT INTO notifications (user_id, message) SELECT %s + i %% 2, 'mass ' || i FROM generate_series(1, %s) AS i",
            (USERS[0], MASS),
        )


async def _befall(own: Rig, fault: str, leader: Process) -> None:
    if fault == "leader killed":
        await leader.kill()
    elif fault == "leader ended":
        leader.send(signal.SIGTERM)
        assert await leader.ended() == 0
    else:
        return
    successor = await own.bridge()
    await successor.logged("leader.leading", timeout=TAKEOVER)


async def _passed(own: Rig, number: int) -> bool:
    """Has one of the writer's rows after this number, begun once the mass was committed, a place in the log before its end?"""
    async with own.sql() as sql:
        found = await sql.execute(
            "SELECT count(*) FROM notifications WHERE key = %s AND message::int > %s "
            "AND seq < (SELECT max(seq) FROM notifications WHERE key IS NULL)",
            (KEY, number),
        )
        row = await found.fetchone()
    assert row is not None
    return bool(row[0])


async def _judge(own: Rig, streams: list[EventSource]) -> None:
    async with own.sql() as sql:
        rows = await (await sql.execute("SELECT id, user_id FROM notifications ORDER BY id")).fetchall()
    for stream in streams:
        assert [event.json["id"] for event in stream.notifications] == [
            row for row, user in rows if user == user_of(stream)
        ]
