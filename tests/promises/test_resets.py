"""Positions that the log can't go on from, and logs that lose what clients have heard: told in words, never passed over in silence.

Rows 26 and 36 of the fault matrix in docs/delivery.md.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest

from db.migrate import migrate
from db.outbox import BUSY, WAITING
from rowcast.embedded import Server, start_postgres
from tests.event_source import EventSource, open_stream
from tests.promises.restores import dump, never_twice, reasons, restore
from tests.rig import Rig, ready, rig
from tests.servers import FAST, folder
from tests.waiting import until

pytestmark = pytest.mark.slow

HEALS = 10.0


@asynccontextmanager
async def away(url: str, user: int, last_event_id: str) -> AsyncIterator[EventSource]:
    """A client that comes back with the position it has."""
    async with open_stream(f"{url}/events/{user}", last_event_id=last_event_id) as stream:
        await stream.live()
        yield stream


async def heard(url: str, *messages: str) -> EventSource:
    """A client of user 1 that got these and went away."""
    async with open_stream(f"{url}/events/1?since=all") as stream:
        await stream.receives(*messages)
        await stream.live()
    return stream


# --- row 26: what a client may come with


@pytest.fixture
async def url(own: Rig) -> str:
    """A Rowcast in its second term, with rows of user 1 and of user 2 in each."""
    first = await own.bridge()
    await first.logged("leader.leading")
    url, _ = await own.web()
    for message in ("old", "new"):
        async with open_stream(f"{url}/events/1?since=now") as stream:
            await stream.live()
            await own.insert(2, f"{message} secret")
            await own.insert(1, message)
            await stream.receives(message)
        if message == "old":
            await first.kill()
            await (await own.bridge()).logged("leader.leading")
    return url


async def positions(own: Rig) -> list[int]:
    """The seqs of all rows, in order."""
    async with own.sql() as sql:
        rows = await sql.execute("SELECT seq FROM notifications ORDER BY seq")
        return [seq for (seq,) in await rows.fetchall()]


UNKNOWN = [b"garbage", b"-1", b"-217468800000007", b"1.5", b"7x", b"9" * 60, b"0x10", b"null", b"\xff\xfe", b"1,2"]
FUTURE = [b"9" * 18, b"9223372036854775807", b"9223372036854775808", b"9" * 19]


async def test_whatever_a_client_comes_with_is_answered_and_brings_nothing_of_another_user(own: Rig, url: str) -> None:
    """No position at all, and none that was ever given: told so, and then what comes. An empty one is none."""
    expected = dict.fromkeys(UNKNOWN, "unknown") | dict.fromkeys(FUTURE, "future") | {b"": None}
    async with AsyncExitStack() as stack:
        streams = {}
        for position in expected:
            async with (
                httpx.AsyncClient(base_url=url) as http,
                http.stream("GET", "/events/1", headers=[(b"Last-Event-ID", position)]) as answer,
            ):
                assert answer.status_code == 200
            opened = open_stream(f"{url}/events/1", last_event_id=position.decode("latin-1"))
            streams[position] = await stack.enter_async_context(opened)
            await streams[position].live()
        await own.insert(2, "another secret")
        await own.insert(1, "next")
        for position, stream in streams.items():
            await stream.until(lambda stream=stream: stream.messages[-1:] == ["next"])  # type: ignore[misc]
            assert (reasons(stream), position) == ([expected[position]] if position else [], position)
            assert stream.messages == (["next"] if position else ["old", "new", "next"])


async def test_every_piece_of_a_position_is_told_from_a_whole_one(own: Rig, url: str) -> None:
    """Truncated; one of the time between two terms; one below the first. All that this log has above it follows."""
    seqs = await positions(own)
    whole = str(seqs[1])
    for length in range(1, len(whole)):
        async with away(url, 1, whole[:length]) as stream:
            assert (reasons(stream), stream.messages) == (["future"], ["old", "new"])
    for between in (seqs[1] + 1, seqs[2] - 2):
        async with away(url, 1, str(between)) as stream:
            assert (reasons(stream), stream.messages) == (["future"], ["new"])


async def test_another_users_position_is_one_like_any_other(own: Rig, url: str) -> None:
    """It says how far one has read, not who one is."""
    seqs = await positions(own)
    for position, messages in ((seqs[0], ["old", "new"]), (seqs[2], ["new"])):
        async with away(url, 1, str(position)) as stream:
            assert (reasons(stream), stream.messages) == ([], messages)


async def test_one_that_was_pruned_is_told_so_with_what_is_left(own: Rig, url: str) -> None:
    seqs = await positions(own)
    async with own.sql() as sql:
        await sql.execute("SELECT rowcast.forget(%s)", (seqs[1],))
        await sql.execute("DELETE FROM notifications WHERE message LIKE 'old%'")
    async with away(url, 1, str(seqs[0])) as stream:
        assert (reasons(stream), stream.messages) == (["pruned"], ["new"])
    async with away(url, 1, str(seqs[1])) as stream:
        assert (reasons(stream), stream.messages) == ([], ["new"])


# --- row 36: the log loses what clients have heard


@pytest.mark.parametrize("way", ["--clean", "--single-transaction", "--data-only"])
async def test_a_dump_that_is_restored_while_all_runs(own: Rig, way: str) -> None:
    """Bridge, web and clients stay; nothing but Postgres knows of it. Also with ids that are given a second time."""
    bridge = await own.bridge()
    url, web = await own.web()
    async with open_stream(f"{url}/events/1") as stays, open_stream(f"{url}/events/2") as quiet:
        await stays.live()
        await quiet.live()
        await own.insert(1, "a1", "a2")
        await stays.receives("a1", "a2")
        with folder() as place:
            await dump(own.database_url, place / "dump")
            before = await heard(url, "a1", "a2")
            await own.insert(1, "b1", "b2", "b3")
            await stays.receives("a1", "a2", "b1", "b2", "b3")
            after = await heard(url, "a1", "a2", "b1", "b2", "b3")
            await _restore(own, place / "dump", way)
        began = asyncio.get_running_loop().time()
        await own.insert(1, "c1", "c2")
        await stays.until(lambda: stays.messages[-2:] == ["c1", "c2"], timeout=HEALS)
        await ready(url, web, timeout=HEALS)
        assert asyncio.get_running_loop().time() - began < HEALS
        assert (reasons(stays), stays.messages[5:]) == (["future"], ["c1", "c2"])
        assert (reasons(quiet), quiet.messages) == ([], [])
        async with (
            away(url, 1, before.last_event_id) as whole,
            away(url, 1, after.last_event_id) as lost,
            open_stream(f"{url}/events/1") as fresh,
        ):
            assert (reasons(whole), whole.messages) == ([], ["c1", "c2"])
            assert (reasons(lost), lost.messages) == (["future"], ["c1", "c2"])
            await fresh.receives("a1", "a2", "c1", "c2")
            await own.insert(1, "d")
            for stream in (stays, whole, lost, fresh):
                await stream.until(lambda stream=stream: stream.messages[-1] == "d")  # type: ignore[misc]
            never_twice([stays, quiet, before, after, whole, lost, fresh])
    assert "was restored under it" in bridge.log or "connection.lost" in bridge.log


async def _restore(own: Rig, file: Path, way: str) -> None:
    if way == "--data-only":
        async with own.sql() as sql:
            tables = await sql.execute(
                "SELECT string_agg(oid::regclass::text, ', ') FROM pg_class "
                "WHERE relkind = 'r' AND relnamespace IN ('public'::regnamespace, 'rowcast'::regnamespace)"
            )
            row = await tables.fetchone()
            assert row is not None
            await sql.execute(f"TRUNCATE {row[0]}".encode())
        await restore(own.database_url, file, way)
    else:
        await restore(own.database_url, file, "--clean", "--if-exists", *({way} - {"--clean"}))


@pytest.mark.parametrize("mark", [WAITING, BUSY])
async def test_a_dump_restored_right_after_it_was_made_leaves_no_doorbell_dumb(own: Rig, mark: int) -> None:
    """Nothing was stamped in between, so that only the mark shows it: rows come at once again, not with the poll alone."""
    bridge = await own.bridge()
    await bridge.logged("leader.leading")
    async with own.sql() as sql:
        await own.insert(1, "a")
        await until(lambda: _value(own, "SELECT count(*) FROM notifications WHERE seq IS NULL", 0))
        await until(lambda: _value(own, "SELECT last_value FROM rowcast.doorbell", WAITING))
        with folder() as place:
            await dump(own.database_url, place / "dump")
            await restore(own.database_url, place / "dump", "--clean", "--if-exists")
        await sql.execute("SELECT setval('rowcast.doorbell', %s)", (mark,))
    await until(lambda: _value(own, "SELECT last_value FROM rowcast.doorbell", WAITING))
    await own.insert(1, "b")
    await until(lambda: _value(own, "SELECT count(*) FROM notifications WHERE seq IS NULL", 0))


async def _value(own: Rig, statement: str, expected: int) -> bool:
    async with own.sql() as sql:
        return await (await sql.execute(statement.encode())).fetchone() == (expected,)


async def test_a_cluster_that_is_set_back_to_an_older_copy(valkey: Server) -> None:
    """A file-level backup, or recovery to a point in time: the server comes back older than its clients."""
    with folder() as place:
        server = start_postgres(place, settings=FAST)
        try:
            await asyncio.to_thread(migrate, server.url, say=lambda _: None)
            async with rig(server.url, valkey.url, prefix="copy", retry="0.1") as own:
                await own.bridge()
                url, web = await own.web()
                async with open_stream(f"{url}/events/1") as stays:
                    await stays.live()
                    await own.insert(1, "a")
                    await stays.receives("a")
                    before = await heard(url, "a")
                    await asyncio.to_thread(server.stop)
                    subprocess.run(["cp", "-a", place / "postgres", place / "copy"], check=True)
                    server = await asyncio.to_thread(start_postgres, place, port=server.port, settings=FAST)
                    await ready(url, web)
                    await own.insert(1, "b1", "b2")
                    await stays.receives("a", "b1", "b2")
                    after = await heard(url, "a", "b1", "b2")
                    await asyncio.to_thread(server.stop)
                    shutil.rmtree(place / "postgres")
                    (place / "copy").rename(place / "postgres")
                    server = await asyncio.to_thread(start_postgres, place, port=server.port, settings=FAST)
                    async with asyncio.timeout(HEALS):
                        await own.insert(1, "c")
                        await stays.until(lambda: stays.messages[-1] == "c")
                        await ready(url, web)
                    assert reasons(stays) == ["future"]
                    async with away(url, 1, before.last_event_id) as whole, away(url, 1, after.last_event_id) as lost:
                        assert (reasons(whole), whole.messages) == ([], ["c"])
                        assert (reasons(lost), lost.messages) == (["future"], ["c"])
                        never_twice([stays, before, after, whole, lost])
        finally:
            server.stop()


# --- row 36: rows are taken away, while clients are there and while they are away


@pytest.mark.parametrize("way", ["TRUNCATE", "prune"])
async def test_history_that_is_emptied_is_told_to_who_had_not_all_of_it(own: Rig, way: str) -> None:
    """And to nobody else: who was there, or away with all that there was, goes on."""
    await own.bridge()
    url, _ = await own.web()
    async with open_stream(f"{url}/events/1") as stays:
        await stays.live()
        await _insert_old(own, 1, "a")
        await stays.receives("a")
        some = await heard(url, "a")
        await _insert_old(own, 1, "b")
        await _insert_old(own, 2, "not of user 1")
        await stays.receives("a", "b")
        every = await heard(url, "a", "b")
        if way == "TRUNCATE":
            async with own.sql() as sql:
                await sql.execute("TRUNCATE notifications")
        else:
            pruned = await own.command("prune", "--older-than", "1h")
            assert await pruned.ended() == 0
        async with away(url, 1, some.last_event_id) as lacking, away(url, 1, every.last_event_id) as complete:
            assert (reasons(lacking), lacking.messages) == (["pruned"], [])
            assert (reasons(complete), complete.messages) == ([], [])
            await own.insert(1, "c")
            for stream in (stays, lacking, complete):
                await stream.until(lambda stream=stream: stream.messages[-1:] == ["c"])  # type: ignore[misc]
            assert reasons(stays) == []
            assert stays.messages == ["a", "b", "c"]
            never_twice([stays, some, every, lacking, complete])


async def _insert_old(own: Rig, user: int, message: str) -> None:
    async with own.sql() as sql:
        await sql.execute(
            "INSERT INTO notifications (user_id, message, created_at) VALUES (%s, %s, now() - interval '1 day')",
            (user, message),
        )
        await until(lambda: _value(own, "SELECT count(*) FROM notifications WHERE seq IS NULL", 0))


async def test_rows_that_are_deleted_are_withdrawn_and_reset_nobody(own: Rig) -> None:
    """The newest too: the log's end is where it was, and no seq comes again."""
    await own.bridge()
    url, _ = await own.web()
    async with open_stream(f"{url}/events/1") as stays:
        await stays.live()
        await own.insert(1, "a")
        await stays.receives("a")
        some = await heard(url, "a")
        await own.insert(1, "b", "c")
        await stays.receives("a", "b", "c")
        every = await heard(url, "a", "b", "c")
        async with own.sql() as sql:
            await sql.execute("DELETE FROM notifications WHERE message <> 'b'")
        async with away(url, 1, some.last_event_id) as lacking, away(url, 1, every.last_event_id) as complete:
            assert (reasons(lacking), lacking.messages) == ([], ["b"])
            assert (reasons(complete), complete.messages) == ([], [])
            await own.insert(1, "d")
            for stream in (stays, lacking, complete):
                await stream.until(lambda stream=stream: stream.messages[-1:] == ["d"])  # type: ignore[misc]
            assert reasons(stays) == []
            never_twice([stays, some, every, lacking, complete])
