"""Very many rows at once, and what maintenance does to rows and sequences: rows 12 and 16 of the fault matrix in docs/delivery.md."""

from __future__ import annotations

import signal

import pytest

from tests.event_source import open_stream
from tests.promises.load import under_load
from tests.rig import Rig

ROWS, USERS = 100_000, 1_000


@pytest.mark.slow
@pytest.mark.parametrize("way", ["INSERT SELECT", "COPY"])
async def test_a_hundred_thousand_rows_of_a_thousand_users_in_one_transaction_arrive_once_in_order(
    own: Rig, way: str
) -> None:
    """Row 12: while others write on; their INSERTs neither fail nor wait."""
    await own.bridge()
    url, _ = await own.web()
    async with under_load(own, url) as load:
        async with own.sql() as sql:
            if way == "COPY":
                async with sql.cursor().copy("COPY notifications (user_id, key, message) FROM STDIN") as copy:
                    for number in range(ROWS):
                        await copy.write_row((number % USERS, "bulk", f"{number:06}"))
            else:
                await sql.execute(
                    "INSERT INTO notifications (user_id, key, message) "
                    "SELECT n %% %s, 'bulk', to_char(n, 'FM000000') FROM generate_series(0, %s) n",
                    (USERS, ROWS - 1),
                )
        await load.flows(within=60)
        load.writer.unharmed()
    for stream in load.streams:
        bulk = [event.json["message"] for event in stream.notifications if event.json["key"] == "bulk"]
        assert len(bulk) == ROWS / USERS
        assert bulk == sorted(bulk)


@pytest.mark.slow
async def test_rows_that_were_frozen_before_any_bridge_saw_them_are_delivered(own: Rig) -> None:
    """Row 16: an xmin that is gone is no reason to leave a row behind."""
    bridge = await own.bridge()
    url, _ = await own.web()
    async with open_stream(f"{url}/events/1") as stream, own.sql() as sql:
        await own.insert(1, "before")
        await stream.receives("before")
        bridge.send(signal.SIGTERM)
        await bridge.ended()
        await own.insert(1, "one", "two")
        await sql.execute("VACUUM (FREEZE, ANALYZE) notifications")
        await own.insert(1, "three")
        await own.bridge()
        await own.insert(1, "after")
        await stream.receives("before", "one", "two", "three", "after")


@pytest.mark.slow
async def test_an_id_sequence_set_back_reorders_and_loses_nothing_that_was_committed(own: Rig) -> None:
    """Row 16: INSERTs fail while ids are taken, as they would without us; those that succeed arrive in the order of commits."""
    await own.bridge()
    url, _ = await own.web()
    async with open_stream(f"{url}/events/1") as stream, own.sql() as sql:
        await sql.execute("SELECT setval('notifications_id_seq', 1000)")
        await own.insert(1, "one", "two")
        await stream.receives("one", "two")
        await sql.execute("SELECT setval('notifications_id_seq', 1)")
        await own.insert(1, "three", "four")
        await stream.receives("one", "two", "three", "four")
        seqs = [int(event.last_event_id) for event in stream.notifications]
        assert seqs == sorted(seqs)
