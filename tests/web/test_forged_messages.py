"""Somebody who reaches Redis publishes what they like: no row gets into another's stream, nothing ends, and lies about the log are forgotten."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator

import pytest

from core.events import NOTIFICATION, Event, Range
from fanout.messages import UnreadableMessageError, decode_mark, decode_message, encode_mark, encode_message
from rowcast.embedded import Server
from tests.clocks import HandClock
from tests.db.databases import Databases
from tests.waiting import until
from tests.web.air import Air, Reader, open_air
from web.stream import Since

FAR = 2**63 - 1
BEYOND = 2**63


@pytest.fixture
async def air(databases: Databases, valkey: Server) -> AsyncIterator[Air]:
    with databases.migrated() as url:
        async with open_air(url, valkey.url) as made:
            yield made


def forged(user: str, seq: int, message: str = "forged") -> Event:
    """`user` as JSON: any text may stand there."""
    return Event(seq, NOTIFICATION, None, f'{{"id":1,"user_id":{user},"message":{json.dumps(message)}}}')


def test_a_seq_that_no_bigint_holds_is_unreadable() -> None:
    """Postgres could not be asked about it, and the bucket would have it for its position."""
    for start, end in ((0, BEYOND), (BEYOND, 1)):
        with pytest.raises(UnreadableMessageError):
            decode_message(encode_message(forged("1", end), start))
        with pytest.raises(UnreadableMessageError):
            decode_mark(encode_mark(Range(start, end)))
    assert decode_mark(encode_mark(Range(0, FAR))).end == FAR


@pytest.mark.parametrize("user", ["-0", "007", "01", '"1"', "null", "2", "1.0", "[1]", "[" * 5000, "1e0"])
async def test_only_a_message_that_names_the_very_user_of_its_channel_is_delivered(air: Air, user: str) -> None:
    """A user id in a form that Postgres doesn't print is another's; `"1"` is how a database of text ids writes 1."""
    async with air.reading(1, Since.NOW) as mine, air.reading(2, Since.NOW) as other:
        await mine.live()
        await other.live()
        await air.say(air.names.user("1"), encode_message(forged(user, 1), 0))
        await mine.gets(*await air.send(1))
        assert (b"forged" in mine.raw) is (user == '"1"')
        assert b"forged" not in other.raw


class _Forger:
    """Random messages, most of them nearly right."""

    def __init__(self, seed: int, air: Air) -> None:
        self._random = random.Random(seed)
        self._channels = [air.names.user("1"), air.names.user("2"), air.names.everyone(0), air.names.marks(0)]

    def message(self) -> tuple[bytes, bytes]:
        pick = self._random.choice
        numbers = [0, 1, 2, 5, 1000, FAR, BEYOND, 10**30]
        user = pick(["1", "2", "null", "-0", '"1"', '"\\ud800"', "{}", "3"])
        kind = pick(["notification", "reset", "hello", "x" * 50])
        head = f'{{"v":1,"seq":{pick(numbers)},"from":{pick(numbers)},"kind":"{kind}",'
        end = pick(["", "\n", "\r\rdata: x", "[" * 999])
        body = f'"id":{pick(numbers)},"user_id":{user},"message":"for {user}"{end}}}'
        whole = pick([head + body, encode_mark(Range(pick(numbers), pick(numbers))).decode()]).encode(
            "utf-8", "replace"
        )
        if self._random.random() < 0.3:
            at = self._random.randrange(len(whole))
            whole = whole[:at] + self._random.randbytes(self._random.randrange(4)) + whole[at + 1 :]
        return pick(self._channels), whole


def bodies(reader: Reader) -> set[str]:
    """Whom the texts that came say they are for."""
    return {event.data.partition('"user_id":')[2].partition(",")[0] for event in reader.events if "for " in event.data}


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 10))])
async def test_random_messages_end_nothing_and_get_into_no_other_stream(air: Air, seed: int) -> None:
    forger = _Forger(seed, air)
    async with air.reading(1, Since.NOW) as one, air.reading(2, Since.NOW) as two:
        await one.live()
        await two.live()
        for _ in range(300):
            air.hub.arrived(*forger.message())
        await until(lambda: not air.hub._buckets[0]._inbox or not air.hub.connected())
        assert bodies(one) <= {"1", '"1"', "null"}
        assert bodies(two) <= {"2", "null"}


LIES = {
    "a mark that jumps": lambda air, last: (air.names.marks(0), encode_mark(Range(last, FAR))),
    "a mark from far ahead": lambda air, last: (air.names.marks(0), encode_mark(Range(FAR - 1, FAR))),
    "a mark that covers all": lambda air, last: (air.names.marks(0), encode_mark(Range(0, FAR))),
    "a row of the future": lambda air, last: (air.names.user("1"), encode_message(forged("1", FAR), last)),
    "a row for everyone of the future": lambda air, last: (
        air.names.everyone(0),
        encode_message(forged("null", FAR), last),
    ),
}


FAST = "a row of the future"


@pytest.mark.parametrize("lie", [pytest.param(lie, marks=() if lie == FAST else pytest.mark.slow) for lie in LIES])
async def test_a_lie_about_the_end_of_the_log_is_forgotten(databases: Databases, valkey: Server, lie: str) -> None:
    """Within a minute streams of then and new ones get rows again: those of then come back for a reset, as after a log that lost its tail."""
    clock = HandClock()
    with databases.migrated() as url:
        async with open_air(url, valkey.url, clock) as air, air.reading(1, Since.NOW) as before:
            await before.live()
            seqs = await air.send(1)
            await before.gets(*seqs)
            await air.say(*LIES[lie](air, seqs[-1]))
            await until(lambda: air.hub._buckets[0].known == FAR)
            began = clock.now()
            while air.hub._buckets[0].known == FAR or not air.hub.connected():
                clock.advance(0.5)
                await air.say(air.names.marks(0), encode_mark(Range(seqs[-1], seqs[-1])))  # the leader goes on
                await until(lambda: clock.sleeping > 1)
                assert clock.now() - began < 60
            assert before.ended or before.seqs == seqs
            async with air.reading(1, Since.NOW) as after:
                await after.live()
                await after.gets(*await air.send(1))
