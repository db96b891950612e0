"""Where a stream starts, how it resumes, and how it says that it can't."""

from __future__ import annotations

import httpx
import psycopg
import pytest

from tests.event_source import open_stream
from tests.rig import Rig


@pytest.fixture
async def url(own: Rig) -> str:
    """A Rowcast with an empty log of its own."""
    await own.bridge()
    url, _ = await own.web()
    return url


async def test_since_unread_is_the_default_and_leaves_out_what_was_viewed(own: Rig, url: str) -> None:
    await own.insert(1, "viewed", "unread")
    await own.insert(None, "all, viewed", "all, unread")
    async with open_stream(f"{url}/events/1?since=all") as stream:
        await stream.receives("viewed", "unread", "all, viewed", "all, unread")
        async with httpx.AsyncClient(base_url=url) as http:
            for event in (stream.notifications[0], stream.notifications[2]):
                answer = await http.patch(f"/notifications/{event.json['id']}", json={"is_viewed": True, "user_id": 1})
                assert answer.status_code == 200, answer.text
    async with open_stream(f"{url}/events/1") as stream:
        await stream.live()
        assert stream.messages == ["unread", "all, unread"]
    async with open_stream(f"{url}/events/2") as stream:
        await stream.live()
        assert stream.messages == ["all, viewed", "all, unread"]


async def test_a_resume_sends_every_row_above_the_position_viewed_or_not(own: Rig, url: str) -> None:
    await own.insert(1, "one", "two", "three")
    async with open_stream(f"{url}/events/1") as stream:
        await stream.receives("one", "two", "three")
        first = stream.notifications[0].last_event_id
    async with own.sql() as sql:
        await sql.execute("UPDATE notifications SET is_viewed = true")
    async with open_stream(f"{url}/events/1", last_event_id=first) as stream:
        await stream.live()
        assert stream.messages == ["two", "three"]
    async with open_stream(f"{url}/events/1?lastEventId={first}") as stream:
        await stream.live()
        assert stream.messages == ["two", "three"]
    async with open_stream(f"{url}/events/1?since={first}") as stream:
        await stream.live()
        assert stream.messages == ["two", "three"]


async def test_the_header_wins_over_the_query(own: Rig, url: str) -> None:
    await own.insert(1, "one", "two")
    async with open_stream(f"{url}/events/1") as stream:
        await stream.receives("one", "two")
        first = stream.notifications[0].last_event_id
    async with open_stream(f"{url}/events/1?since=now&lastEventId=999", last_event_id=first) as stream:
        await stream.live()
        assert stream.messages == ["two"]
        assert not stream.of_type("reset")


async def test_hello_comes_after_the_backlog_and_tells_the_position(own: Rig, url: str) -> None:
    await own.insert(1, "one")
    await own.insert(2, "another user's, later")
    async with open_stream(f"{url}/events/2") as other, open_stream(f"{url}/events/1") as stream:
        await other.receives("another user's, later")
        position = await stream.live()
        assert [event.type for event in stream.events] == ["message", "hello"]
        assert position >= int(other.last_event_id)
        assert stream.events[-1].last_event_id == str(position)


@pytest.mark.parametrize(
    ("position", "reason"),
    [
        *[("garbage", "unknown"), ("-1", "unknown"), ("1.5", "unknown"), ("7x", "unknown"), ("٣", "unknown")],
        *[("9" * 18, "future"), ("9" * 19, "future"), ("9" * 60, "unknown")],
    ],
)
async def test_a_position_that_is_none_of_ours_gets_a_reset_and_then_what_comes(
    web_url: str, database_url: str, user: int, position: str, reason: str
) -> None:
    url = f"{web_url}/events/{user}"
    with psycopg.connect(database_url) as sql:
        sql.execute("INSERT INTO notifications (user_id, message) VALUES (%s, 'before')", (user,))
    async with open_stream(f"{url}?since=now") as stream:
        await stream.live()
    async with open_stream(url, headers={"Last-Event-ID": position}) as stream:
        seq = await stream.live()
        assert [event.type for event in stream.events] == ["reset", "hello"]
        reset = stream.events[0]
        assert reset.json["reason"] == reason
        assert isinstance(reset.json["oldest"], int)
        assert int(reset.last_event_id) <= seq
        with psycopg.connect(database_url) as sql:
            sql.execute("INSERT INTO notifications (user_id, message) VALUES (%s, 'after')", (user,))
        await stream.receives("after")
        assert stream.statuses == [200]


async def test_a_position_that_history_was_pruned_under_gets_a_reset_and_all_that_is_left(own: Rig, url: str) -> None:
    await own.insert(1, "pruned", "the last pruned", "kept", "kept too")
    async with open_stream(f"{url}/events/1") as stream:
        await stream.receives("pruned", "the last pruned", "kept", "kept too")
        first, last_pruned, oldest, _ = [event.last_event_id for event in stream.notifications]
    async with own.sql() as sql:
        await sql.execute("DELETE FROM notifications WHERE seq <= %s", (last_pruned,))
        await sql.execute("UPDATE rowcast.state SET pruned_seq = %s", (last_pruned,))
    async with open_stream(f"{url}/events/1", last_event_id=first) as stream:
        await stream.live()
        assert [event.type for event in stream.events] == ["reset", "message", "message", "hello"]
        assert stream.events[0].json == {"reason": "pruned", "oldest": int(oldest)}
        assert stream.events[0].last_event_id == last_pruned
        assert stream.messages == ["kept", "kept too"]
    async with open_stream(f"{url}/events/1", last_event_id=last_pruned) as stream:
        await stream.live()
        assert not stream.of_type("reset")


async def test_truncate_and_delete_of_the_newest_rows_are_no_reason_for_a_reset(own: Rig, url: str) -> None:
    """The greatest seq is what was ever stamped, never max(seq)."""
    await own.insert(1, "one")
    async with open_stream(f"{url}/events/1") as stream:
        await stream.receives("one")
    async with own.sql() as sql:
        await sql.execute("TRUNCATE notifications")
    await own.insert(1, "two")
    async with open_stream(f"{url}/events/1", last_event_id=stream.last_event_id) as again:
        await again.receives("two")
        assert not again.of_type("reset")


async def test_list_and_stream_join_without_gap_or_double(own: Rig, url: str) -> None:
    await own.insert(1, "one", "two")
    async with httpx.AsyncClient(base_url=url) as http:
        async with open_stream(f"{url}/events/1") as stream:
            await stream.receives("one", "two")
        page = (await http.get("/notifications", params={"user_id": 1})).json()
    await own.insert(1, "three")
    async with open_stream(f"{url}/events/1?since={page['seq']}") as stream:
        await stream.receives("three")
    assert [item["message"] for item in page["items"]] == ["two", "one"]


@pytest.mark.parametrize("since", ["yesterday", "-5", "1e3", "9" * 25])
async def test_a_since_that_can_never_succeed_is_400(web_url: str, user: int, since: str) -> None:
    async with httpx.AsyncClient(base_url=web_url) as http:
        answer = await http.get(f"/events/{user}", params={"since": since})
        assert answer.status_code == 400
        assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("path", ["abc", "1.5", "9223372036854775808", "1%00", "%F0%9F%98%80"])
async def test_a_user_id_that_is_none_is_400(web_url: str, path: str) -> None:
    async with httpx.AsyncClient(base_url=web_url) as http:
        answer = await http.get(f"/events/{path}")
        assert answer.status_code == 400
        assert answer.headers["content-type"] == "application/problem+json"


async def test_head_ends_at_once_with_the_headers_of_a_stream(web_url: str, user: int) -> None:
    async with httpx.AsyncClient(base_url=web_url) as http:
        answer = await http.head(f"/events/{user}")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/event-stream"
        assert answer.headers["cache-control"] == "no-store, no-transform"
        assert answer.headers["x-accel-buffering"] == "no"


@pytest.mark.parametrize(("written", "canonical"), [("007", 7), ("-0", 0), ("0", 0), ("-5", -5)])
async def test_zero_and_negative_ids_are_ids_and_every_spelling_is_one_user(
    web_url: str, database_url: str, written: str, canonical: int
) -> None:
    async with open_stream(f"{web_url}/events/{written}?since=now") as stream:
        await stream.live()
        with psycopg.connect(database_url) as sql:
            sql.execute("INSERT INTO notifications (user_id, message) VALUES (%s, 'yours')", (canonical,))
        await stream.receives("yours")
