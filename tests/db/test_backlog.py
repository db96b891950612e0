"""Past a backlog: rows of users who have nothing in it, in the order that they would have without it, and no others."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from psycopg import AsyncConnection

from db import backlog as module
from db import outbox
from db.backlog import Backlog, look_at_backlog, newcomers
from db.connect import Connection
from db.outbox import NOTHING_HELD, SOURCES, Claim, HeldBack, claim
from tests.db.rows import EVERYONE, in_order, insert, lock

[NOTIFICATIONS] = SOURCES


@pytest.fixture(autouse=True)
def nothing_is_new_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """All rows that there are belong to the backlog."""
    monkeypatch.setattr(module, "TAIL_ROWS", 0)


async def take(bridge: Connection, held_back: HeldBack = NOTHING_HELD, *, batch: int = 1) -> Claim:
    """A claim from the old end."""
    async with asyncio.timeout(5):
        return await claim(bridge, NOTIFICATIONS, held_back, batch=batch)


async def let_pass(
    bridge: Connection, backlog: Backlog, held_back: HeldBack = NOTHING_HELD, *, batch: int = 1000
) -> Claim:
    """A claim from the new end, for whoever may pass."""
    leave = (await newcomers(bridge, backlog)).leave
    async with asyncio.timeout(5):
        return await claim(bridge, NOTIFICATIONS, held_back, batch=batch, past=leave)


async def test_who_has_nothing_in_the_backlog_passes_it(bridge: Connection, other: Connection) -> None:
    old = await insert(other, 1, 2, 1)
    backlog = await look_at_backlog(bridge)
    new = await insert(other, 3, 1, 4, 3)
    assert (await let_pass(bridge, backlog)).rows == 3
    assert await in_order(other) == [new[0], new[2], new[3]]
    await take(bridge, batch=10)
    assert (await in_order(other))[3:] == [*old, new[1]]


async def test_who_came_before_the_backlog_was_looked_at_passes_it_too(
    bridge: Connection, other: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or else whoever is not quicker than the bridge waits for all of it. Its newest rows may pass as well, if their users have no older ones."""
    monkeypatch.setattr(module, "TAIL_ROWS", 4)
    old = await insert(other, 1, 2, 1)
    new = await insert(other, 4, 1, 3, 4)
    backlog = await look_at_backlog(bridge)
    new += await insert(other, 4, 2)
    assert (await let_pass(bridge, backlog)).rows == 4
    assert await in_order(other) == [new[0], new[2], new[3], new[4]]
    await take(bridge, batch=10)
    assert (await in_order(other))[4:] == [*old, new[1], new[5]]


async def test_a_row_for_everyone_among_the_newest_is_passed_by_nobody(
    bridge: Connection, other: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TAIL_ROWS", 3)
    await insert(other, 1)
    before, _, _ = await insert(other, 2, EVERYONE, 2)
    backlog = await look_at_backlog(bridge)
    await insert(other, 3)
    await let_pass(bridge, backlog)
    assert await in_order(other) == [before]


async def test_fewer_rows_than_are_taken_for_new(
    bridge: Connection, other: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TAIL_ROWS", 4)
    ids = await insert(other, 2, 1, 2)
    assert (await let_pass(bridge, await look_at_backlog(bridge))).rows == 3
    assert await in_order(other) == ids


async def test_whose_rows_were_stamped_since_waits_until_the_backlog_is_looked_at_anew(
    bridge: Connection, other: Connection
) -> None:
    await insert(other, 1, 2)
    backlog = await look_at_backlog(bridge)
    await take(bridge)
    [new] = await insert(other, 1)
    assert (await let_pass(bridge, backlog)).rows == 0
    assert (await let_pass(bridge, await look_at_backlog(bridge))).rows == 0, "it is part of that one"
    backlog = await look_at_backlog(bridge)
    await take(bridge, batch=10)
    [third] = await insert(other, 3)
    assert (await let_pass(bridge, backlog)).rows == 1
    assert (await in_order(other))[-2:] == [new, third]


async def test_nobody_passes_a_row_for_everyone_in_the_backlog(bridge: Connection, other: Connection) -> None:
    await insert(other, 1, EVERYONE)
    backlog = await look_at_backlog(bridge)
    assert backlog.users is None
    await insert(other, 2)
    assert (await let_pass(bridge, backlog)).rows == 0


async def test_nobody_passes_a_row_for_everyone_that_came_after_the_backlog(
    bridge: Connection, other: Connection
) -> None:
    """And it waits for the backlog, some of which is for everybody's neighbours."""
    old = await insert(other, 1)
    backlog = await look_at_backlog(bridge)
    before, everyone, after = await insert(other, 2, EVERYONE, 2)
    for _ in range(2):
        await let_pass(bridge, backlog)
        assert await in_order(other) == [before]
    await take(bridge, batch=10)
    assert await in_order(other) == [before, *old, everyone, after]


async def test_a_transaction_that_ran_when_the_backlog_was_looked_at(
    bridge: Connection, database: str, other: Connection
) -> None:
    """Its rows came after it, though their transaction is older than much of it."""
    async with await AsyncConnection.connect(database) as late:
        first, second = await insert(late, 2, 2)
        await insert(other, 1)
        backlog = await look_at_backlog(bridge)
        assert (await let_pass(bridge, backlog)).rows == 0
        await late.commit()
    [third] = await insert(other, 2)
    assert (await let_pass(bridge, backlog)).rows == 3
    assert await in_order(other) == [first, second, third]


async def test_a_transaction_that_committed_since_the_backlog_was_looked_at(
    bridge: Connection, database: str, other: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the very moment after: what is not in the one is in the other."""
    async with await AsyncConnection.connect(database) as late:
        first, _ = [*await insert(late, 2), *await insert(other, 1)]
        real = outbox.one

        async def then_commit(*arguments: Any, **options: Any) -> tuple[Any, ...]:
            row = await real(*arguments, **options)
            await late.commit()
            return row

        with monkeypatch.context() as patched:
            patched.setattr(module, "one", then_commit)
            backlog = await look_at_backlog(bridge)
    [second] = await insert(other, 2)
    await let_pass(bridge, backlog)
    assert await in_order(other) == [first, second]


async def test_a_locked_row_holds_back_the_later_ones_of_its_user_at_both_ends(
    bridge: Connection, other: Connection
) -> None:
    [old] = await insert(other, 1)
    backlog = await look_at_backlog(bridge)
    locked, after, someone = await insert(other, 2, 2, 3)
    await lock(other, [locked])
    got = await let_pass(bridge, backlog)
    assert (got.held_back, await in_order(bridge)) == (HeldBack("{2}", locked), [someone])
    await other.execute("ROLLBACK")
    again = await let_pass(bridge, backlog, got.held_back)
    assert (again.rows, again.held_back) == (0, got.held_back), "left out until the next poll"
    await take(bridge, got.held_back, batch=10)
    assert await in_order(bridge) == [someone, old]
    await let_pass(bridge, backlog)
    assert await in_order(bridge) == [someone, old, locked, after]


async def test_who_is_held_back_at_the_old_end_is_left_out_at_the_new_one(
    bridge: Connection, other: Connection
) -> None:
    """Whatever is known of the backlog."""
    [locked] = await insert(other, 1)
    await lock(other, [locked])
    got = await take(bridge)
    await other.execute("ROLLBACK")
    backlog = replace(await look_at_backlog(bridge), users=frozenset())
    await insert(other, 1)
    assert (await let_pass(bridge, backlog, got.held_back)).rows == 0


async def test_more_than_a_batch_passes_nobody(bridge: Connection, other: Connection) -> None:
    """It says that there is more: look at the backlog anew."""
    await insert(other, 1)
    backlog = await look_at_backlog(bridge)
    await insert(other, 2, 2, 2)
    got = await let_pass(bridge, backlog, batch=2)
    assert (got.rows, got.more) == (0, True)
    assert (await let_pass(bridge, backlog, batch=3)).rows == 3


@pytest.mark.parametrize("user", [2, EVERYONE])
async def test_nobody_passes_a_stray(bridge: Connection, other: Connection, user: int | None) -> None:
    """It says that it is older than the backlog, and is not in it."""
    await insert(other, 1)
    backlog = await look_at_backlog(bridge)
    await other.execute("INSERT INTO public.notifications (user_id, message, born) VALUES (%s, 'x', '1')", (user,))
    await insert(other, 2)
    assert (await let_pass(bridge, backlog)).rows == 0
    await take(bridge, batch=10)
    assert len(await in_order(other)) == 3
    [new] = await insert(other, 4)
    assert (await let_pass(bridge, backlog)).rows == 1
    assert (await in_order(other))[-1] == new


@pytest.mark.parametrize("user", ["2", "NULL"])
async def test_nobody_passes_a_row_of_the_backlog_that_was_given_to_another(
    bridge: Connection, other: Connection, user: str
) -> None:
    first, second = await insert(other, 1, 3)
    backlog = await look_at_backlog(bridge)
    await other.execute(f"UPDATE public.notifications SET user_id = {user} WHERE id = {first}".encode())
    [new] = await insert(other, 2)
    await let_pass(bridge, backlog)
    await take(bridge, batch=10)
    order = await in_order(other)
    assert order.index(first) < order.index(new)
    assert sorted(order) == [first, second, new]


@pytest.mark.parametrize("limit", ["BACKLOG_ROWS", "BACKLOG_USERS"])
async def test_too_much_to_know_is_passed_by_nobody(
    bridge: Connection, other: Connection, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await insert(other, 1, 2)
    monkeypatch.setattr(module, limit, 2)
    assert (await look_at_backlog(bridge)).users is not None
    monkeypatch.setattr(module, limit, 1)
    assert (await look_at_backlog(bridge)).users is None


async def test_what_goes_beyond_a_look_at_what_is_new_is_told(
    bridge: Connection, other: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await insert(other, 1)
    backlog = await look_at_backlog(bridge)
    await insert(other, 2, 3, 1)
    assert sorted((await newcomers(bridge, backlog)).leave.users) == ["2", "3"]
    for limit in ("NEW_ROWS", "NEW_USERS"):
        assert (await newcomers(bridge, backlog)).many is False
        with monkeypatch.context() as patched:
            patched.setattr(module, limit, 2)
            assert (await newcomers(bridge, backlog)).many is True
