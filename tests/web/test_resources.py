"""The HTTP resources: what each promises, on the real app over a real Postgres."""

from __future__ import annotations

import re
from urllib.parse import quote

import pytest

from core.user_ids import UserIdType
from tests.web.site import Site

ADA = "00000000-0000-0000-0000-000000000001"


async def test_a_posted_row_comes_back_whole(site: Site) -> None:
    body = {"user_id": 1, "key": "k", "message": "hello", "channel_type": "c", "data": {"n": [1, None, "ü"]}}
    answer = await site.http.post("/notifications", json=body)
    row = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/notifications/{row['id']}"
    assert answer.headers["content-type"] == "application/json"
    assert row == body | {
        "id": row["id"],
        "is_sent": False,
        "is_viewed": False,
        "created_at": row["created_at"],
        "seq": None,
    }
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", row["created_at"])
    assert (await site.http.get(answer.headers["location"])).json() == row


async def test_what_is_not_said_takes_the_table_s_defaults(site: Site) -> None:
    row = await site.post({"user_id": None, "message": ""})
    assert (row["user_id"], row["key"], row["channel_type"], row["data"]) == (None, None, "notifications_channel", None)


async def test_an_array_is_answered_in_its_order_and_ids_rise_with_it(site: Site) -> None:
    rows = await site.post([{"user_id": i % 3, "message": f"m{i}"} for i in range(1000)])
    assert [row["message"] for row in rows] == [f"m{i}" for i in range(1000)]
    assert [row["id"] for row in rows] == sorted(row["id"] for row in rows)


async def test_one_bad_item_keeps_the_whole_array_out(site: Site) -> None:
    answer = await site.http.post("/notifications", json=[{"user_id": 1, "message": "a"}, {"user_id": 1}])
    assert answer.status_code == 400
    assert answer.json()["detail"] == "Item 1 of the array lacks the field 'message'."
    await site.relay()
    assert (await site.list(1))["items"] == []


async def test_numbers_in_data_stay_exact(site: Site) -> None:
    text = '{"user_id": 1, "message": "m", "data": [12345678901234567890.12345678901234567890, 1e400, 1.10]}'
    answer = await site.http.post("/notifications", content=text, headers={"content-type": "application/json"})
    assert answer.status_code == 201
    assert f"[12345678901234567890.12345678901234567890, 1{'0' * 400}, 1.10]" in answer.text


@pytest.mark.parametrize(
    ("kind", "sent", "canonical"),
    [
        (UserIdType.BIGINT, 0, 0),
        (UserIdType.BIGINT, -7, -7),
        (UserIdType.BIGINT, "9223372036854775807", 2**63 - 1),
        (UserIdType.BIGINT, "007", 7),
        (UserIdType.UUID, ADA.upper(), ADA),
        (UserIdType.TEXT, "a/b ü", "a/b ü"),
        (UserIdType.TEXT, "/%\n", "/%\n"),
    ],
)
async def test_each_user_id_is_the_same_user_in_every_route(site: Site, sent: object, canonical: object) -> None:
    assert (await site.post({"user_id": sent, "message": "m"}))["user_id"] == canonical
    await site.post({"user_id": None, "message": "for everyone"})
    await site.relay()
    page = await site.list(sent)
    assert [row["user_id"] for row in page["items"]] == [None, canonical]
    assert page["unread"] == 2
    path = f"/users/{_quoted(sent)}/viewed"
    answer = await site.http.post(path, json={"up_to": page["seq"]})
    assert (answer.status_code, answer.json()) == (200, {"unread": 0})
    assert [row["is_viewed"] for row in (await site.list(sent))["items"]] == [True, True]
    assert (await site.http.get(f"/write/k/v/{_quoted(sent)}")).status_code == 200
    assert (await site.http.get("/read/k")).json()["user_id"] == canonical


async def test_a_list_has_only_what_the_stream_after_it_will_not_send(site: Site) -> None:
    await site.post({"user_id": 1, "message": "relayed"})
    await site.relay()
    await site.post({"user_id": 1, "message": "on its way"})
    page = await site.list(1)
    assert [row["message"] for row in page["items"]] == ["relayed"]
    assert page["unread"] == 1
    assert page["seq"] == page["items"][0]["seq"]
    assert page["items"][0]["is_sent"] is True


async def test_pages_join_and_the_last_says_that_it_is(site: Site) -> None:
    await site.post([{"user_id": (None, 1, 2)[i % 3], "message": f"m{i}"} for i in range(30)])
    await site.relay()
    pages = [await site.list(1, limit=5)]
    while pages[-1]["next"] is not None:
        pages.append(await site.list(1, limit=5, before=pages[-1]["next"]))
    seen = [row["message"] for page in pages for row in page["items"]]
    assert seen == [f"m{i}" for i in reversed(range(30)) if i % 3 != 2]
    assert len(pages) == 4, "none is empty"


async def test_long_rows_end_a_page_early(site: Site) -> None:
    for _ in range(4):
        await site.post([{"user_id": 1, "message": "x" * 1_000_000}] * 2)
    await site.relay()
    first = await site.list(1)
    second = await site.list(1, before=first["next"])
    assert (len(first["items"]), len(second["items"]), second["next"]) == (5, 3, None)


async def test_unread_lists_what_the_user_has_not_viewed(site: Site) -> None:
    rows = await site.post([{"user_id": (None, 1)[i % 2], "message": f"m{i}"} for i in range(6)])
    await site.relay()
    for row in rows[:3]:
        answer = await site.http.patch(f"/notifications/{row['id']}", json={"is_viewed": True, "user_id": 1})
        assert answer.status_code == 200
        assert answer.json()["is_viewed"] is True
    page = await site.list(1, unread="true", limit=2)
    assert [row["message"] for row in page["items"]] == ["m5", "m4"]
    assert (page["unread"], page["next"]) == (3, rows[4]["id"])
    assert [row["message"] for row in (await site.list(1, unread="true", before=rows[4]["id"]))["items"]] == ["m3"]
    assert (await site.list(2))["unread"] == 3, "a row for everyone has a mark for each user"


async def test_a_mark_can_be_taken_back(site: Site) -> None:
    for user_id in (1, None):
        row = await site.post({"user_id": user_id, "message": "m"})
        path = f"/notifications/{row['id']}"
        for viewed in (True, True, False, False):
            answer = await site.http.patch(path, json={"is_viewed": viewed, "user_id": 1})
            assert (answer.status_code, answer.json()["is_viewed"]) == (200, viewed)


async def test_a_row_for_everyone_must_be_marked_by_somebody(site: Site) -> None:
    row = await site.post({"user_id": None, "message": "m"})
    answer = await site.http.patch(f"/notifications/{row['id']}", json={"is_viewed": True})
    assert answer.status_code == 400
    assert "'user_id'" in answer.json()["detail"]


async def test_a_row_of_one_user_is_not_there_for_another(site: Site) -> None:
    row = await site.post({"user_id": 1, "message": "m"})
    path = f"/notifications/{row['id']}"
    assert (await site.http.get(path, params={"user_id": 2})).status_code == 404
    assert (await site.http.patch(path, json={"is_viewed": True, "user_id": 2})).status_code == 404
    assert (await site.http.patch(path, json={"is_viewed": True})).status_code == 200, "its user is the viewer"


async def test_viewed_up_to_leaves_what_came_later(site: Site) -> None:
    await site.post([{"user_id": (None, 1)[i % 2], "message": f"m{i}"} for i in range(4)])
    await site.relay()
    seq = (await site.list(1))["seq"]
    await site.post([{"user_id": (None, 1)[i % 2], "message": f"m{i}"} for i in range(4, 8)])
    await site.relay()
    assert (await site.http.post("/users/1/viewed", json={"up_to": seq})).json() == {"unread": 4}
    assert (await site.http.post("/users/1/viewed", json={"up_to": 0})).json() == {"unread": 4}
    assert (await site.http.post("/users/1/viewed", json={"up_to": 2**63 - 1})).json() == {"unread": 0}


async def test_a_deleted_row_is_gone(site: Site) -> None:
    row = await site.post({"user_id": 1, "message": "m"})
    path = f"/notifications/{row['id']}"
    answer = await site.http.delete(path)
    assert (answer.status_code, answer.content) == (204, b"")
    assert "content-type" not in answer.headers
    assert (await site.http.delete(path)).status_code == 404
    assert (await site.http.get(path)).status_code == 404


async def test_the_proof_of_concept_s_story(site: Site) -> None:
    assert (await site.http.get("/write/2/oranges/1")).json() == {"status": "ok"}
    row = (await site.http.get("/read/2")).json()
    assert (row["user_id"], row["key"], row["message"]) == (1, "2", "Key '2' was updated to 'oranges'")
    assert row["data"] == {"value": "oranges"}
    assert {"id", "message", "channel_type", "is_sent", "is_viewed", "created_at", "user_id"} <= row.keys()


async def test_read_takes_the_newest_row_of_a_key_and_then_the_row_of_an_id(site: Site) -> None:
    rows = await site.post([{"user_id": 1, "message": f"m{i}", "key": "long" * 100 + str(i % 2)} for i in range(4)])
    assert (await site.http.get("/read/" + "long" * 100 + "0")).json()["message"] == "m2"
    assert (await site.http.get(f"/read/{rows[1]['id']}")).json()["message"] == "m1"
    await site.post({"user_id": 1, "message": "by key", "key": str(rows[1]["id"])})
    assert (await site.http.get(f"/read/{rows[1]['id']}")).json()["message"] == "by key"
    assert (await site.http.get("/read/nothing")).status_code == 404


async def test_keys_and_values_are_any_text(site: Site) -> None:
    for key in ("a/b", "/a", "a//b", "ü €", "%", "a\nb", "..%2f", "'; --", "?x", "+", "�"):
        assert (await site.http.get(f"/write/{_quoted(key)}/{_quoted(key)}/1")).status_code == 200, key
        row = (await site.http.get(f"/read/{_quoted(key)}")).json()
        assert (row["key"], row["data"]) == (key, {"value": key})


async def test_a_head_never_inserts(site: Site) -> None:
    answer = await site.http.head("/write/2/oranges/1")
    assert (answer.status_code, answer.headers["allow"], answer.content) == (405, "GET", b"")
    assert (await site.http.get("/read/2")).status_code == 404
    assert (await site.http.head("/notifications?user_id=1")).status_code == 200


async def test_values_that_no_driver_can_hold_are_read(site: Site) -> None:
    await site.sql(
        "INSERT INTO notifications (user_id, message, created_at) VALUES (1, 'm', 'infinity'), (1, 'n', '20000-01-01')"
    )
    await site.relay()
    assert [row["created_at"] for row in (await site.list(1))["items"]] == ["20000-01-01T00:00:00.000Z", "infinity"]


async def test_a_row_that_this_database_s_own_rules_refuse_is_a_400(site: Site) -> None:
    await site.sql("ALTER TABLE notifications ADD CONSTRAINT short CHECK (length(message) < 10)")
    answer = await site.http.post("/notifications", json={"user_id": 1, "message": "0123456789"})
    assert answer.status_code == 400
    assert "short" in answer.json()["detail"]


def _quoted(part: object) -> str:
    return quote(str(part), safe="")
