"""Every fault is applied once to an ensemble that runs: it takes effect, and at its end all is ready again and a row goes round."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any, TypeAlias

import httpx
import psutil
import psycopg
import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from tests.chaos.ensemble import Ensemble, Shape, Standby, ensemble
from tests.chaos.faults import FAULTS
from tests.event_source import EventSource, open_stream
from tests.waiting import until
from tests.wire import Wire

Check: TypeAlias = Callable[[Ensemble], Awaitable[object]]
ALL = [Shape(), Shape(standby="async", replica=True), Shape(standby="sync", bridges=1, webs=3, replica=True)]


@pytest.mark.parametrize("shape", ALL, ids=str)
@pytest.mark.parametrize("name", sorted(FAULTS))
def test_what_is_drawn_is_plain_the_same_for_a_seed_and_names_what_is_there(name: str, shape: Shape) -> None:
    kind = FAULTS[name]
    drawn = [kind.draw(Random(seed), shape) for seed in range(30)]
    assert drawn == [kind.draw(Random(seed), shape) for seed in range(30)]
    assert json.loads(json.dumps(drawn)) == drawn
    for arguments in drawn:
        assert kind.target(arguments) is not None
        assert arguments.get("place", "web0") in shape.places
        assert arguments.get("wire", "web0-redis") in shape.wires


def test_faults_of_a_standby_or_a_replica_are_for_ensembles_that_have_one() -> None:
    possible = [{name for name, kind in FAULTS.items() if kind.possible(shape)} for shape in ALL]
    assert possible[1] - possible[0] == {"fail_over", "lose_standby", "promote_replica"}
    assert possible[2] - possible[0] == {"fail_over_in_step", "lose_standby", "promote_replica"}
    assert {name for name in FAULTS if FAULTS[name].forgets} == {"fail_over"}


# What is true while a fault lasts


def gone(place: str) -> Check:
    async def check(e: Ensemble) -> None:
        assert not e.places[place].running

    return check


def stopped(place: str) -> Check:
    return lambda e: until(lambda: psutil.Process(e.places[place].pid).status() == psutil.STATUS_STOPPED)


async def some_bridge_stands_still(e: Ensemble) -> None:
    def states() -> list[str]:
        return [psutil.Process(bridge.pid).status() for bridge in e.bridges]

    await until(lambda: states().count(psutil.STATUS_STOPPED) == 1)


async def postgres_is_silent(e: Ensemble) -> None:
    with pytest.raises((psycopg.OperationalError, TimeoutError)):
        async with asyncio.timeout(1), e.sql():
            pass


async def redis_is_silent(e: Ensemble) -> None:
    with pytest.raises((RedisError, TimeoutError)):
        async with asyncio.timeout(1), Redis.from_url(e.redis.primary.url, retry=None) as redis:
            await redis.set("x", "y")


def unready(*webs: str) -> Check:
    """Sooner or later these, and no others, say so."""

    async def check(e: Ensemble) -> None:
        async with httpx.AsyncClient(trust_env=False, timeout=5) as http:

            async def as_said() -> bool:
                answers = {web.name: (await http.get(f"{web.url}/readyz")).status_code for web in e.webs}
                return {name for name, status in answers.items() if status != httpx.codes.OK} == set(webs)

            await until(as_said, timeout=20)

    return check


def wired(name: str, check: Callable[[Wire], bool]) -> Check:
    return lambda e: until(lambda: check(e.wires[name]))


def again(text: str, name: str) -> Check:
    """The process logs this again."""

    async def check(e: Ensemble) -> None:
        count = e.places[name].log.count(text)
        await until(lambda: e.places[name].log.count(text) > count)

    return check


def any_logs(text: str, prefix: str) -> Check:
    async def check(e: Ensemble) -> None:
        places = [place for place in e.places.values() if place.name.startswith(prefix)]
        count = sum(place.log.count(text) for place in places)
        await until(lambda: sum(place.log.count(text) for place in places) > count)

    return check


async def open_transactions(e: Ensemble) -> None:
    assert await e.postgres.primary.true(
        "SELECT count(*) > 0 FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND state = 'idle in transaction'"
    )


async def the_standby_is_behind(e: Ensemble) -> None:
    assert e.postgres.stream.mode.holding


async def the_replica_leads(e: Ensemble) -> None:
    async with Redis.from_url(e.redis.primary.url) as redis:
        assert (await redis.info("replication"))["role"] == "master"
    assert not e.redis.replica.running


async def a_point_was_reached(e: Ensemble) -> None:
    bridge = e.bridges[0]
    await e.rig.insert(1, "for the fail point")
    assert await bridge.ended(within=20)
    assert '"fail_point.reached"' in bridge.log


async def all_were_restarted(e: Ensemble) -> None:
    assert all(len(place.processes) > 1 for place in e.places.values())


async def nothing(_: Ensemble) -> None:
    """It was all done on entry."""


Case: TypeAlias = tuple[str, dict[str, Any], Check]
PROCESSES: list[Case] = [
    ("kill", {"place": "web1"}, gone("web1")),
    ("terminate", {"place": "bridge0"}, gone("bridge0")),
    ("freeze", {"place": "web0"}, stopped("web0")),
    ("freeze_leader", {}, some_bridge_stands_still),
    ("crash_at", {"points": "bridge.claimed=kill@1", "number": 0}, a_point_was_reached),
    ("crash_at", {"points": "drain.begun=stop", "number": 1}, nothing),
    ("restart_all", {"order": ["web1", "bridge0", "web0", "bridge1"]}, all_were_restarted),
]
WIRES: list[Case] = [
    ("black_hole", {"wire": "web1-redis", "lost": "all"}, unready("web1")),
    ("black_hole", {"wire": "web1-postgres", "lost": "replies"}, unready("web1")),
    ("hold", {"wire": "web0-redis"}, unready("web0")),
    ("refuse", {"wire": "web0-postgres"}, unready("web0")),
    ("reset", {"wire": "web0-redis", "every": 0.3}, again("connection.lost", "web0")),
    ("delay", {"wire": "web0-redis", "seconds": 0.2}, nothing),
    ("throttle", {"wire": "web0-redis", "rate": 100_000}, nothing),
    ("slice", {"wire": "web0-redis", "size": 41}, nothing),
    ("cut", {"wire": "web0-redis", "nbytes": 300, "direction": "down"}, again("connection.lost", "web0")),
    ("isolate", {"place": "web1"}, unready("web1")),
    ("cut_off", {"server": "postgres"}, unready("web0", "web1")),
]
POSTGRES: list[Case] = [
    ("kill_postgres", {}, postgres_is_silent),
    ("restart_postgres", {}, postgres_is_silent),
    ("freeze_postgres", {}, postgres_is_silent),
    ("end_sessions", {"name": "rowcast-claim", "every": 0.5}, any_logs("connection.lost", "bridge")),
    ("freeze_sessions", {"name": "rowcast-listen"}, any_logs("connection.lost", "bridge")),
    ("long_transaction", {"commits": True}, open_transactions),
    ("fail_over", {"lag": 0.5}, postgres_is_silent),
    ("lose_standby", {}, the_standby_is_behind),
]
REDIS: list[Case] = [
    ("kill_redis", {"begins": "empty"}, redis_is_silent),
    ("kill_redis", {"begins": "from an older file"}, redis_is_silent),
    ("freeze_redis", {}, redis_is_silent),
    ("pause_redis", {"mode": "WRITE", "seconds": 60.0}, redis_is_silent),
    ("pause_redis", {"mode": "ALL", "seconds": 3.0}, redis_is_silent),
    ("kill_clients", {"name": "rowcast-web", "every": 0.5}, any_logs("connection.lost", "web")),
    ("flush_redis", {"every": 0.1}, nothing),
    ("promote_replica", {"lag": 0.0, "old": "is gone", "moved": ""}, the_replica_leads),
    ("promote_replica", {"lag": 1.0, "old": "stays", "moved": "bridge"}, unready("web0", "web1")),
]
IN_STEP: list[Case] = [("fail_over_in_step", {}, postgres_is_silent)]


def test_no_fault_was_forgotten_here() -> None:
    assert {case[0] for case in (*PROCESSES, *WIRES, *POSTGRES, *REDIS, *IN_STEP)} == set(FAULTS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cases", "standby"),
    [(PROCESSES + WIRES, "none"), (POSTGRES + REDIS, "async"), (IN_STEP, "sync")],
    ids=["processes and wires", "servers", "a synchronous standby"],
)
async def test_each_takes_effect_and_is_put_right(cases: list[Case], standby: Standby) -> None:
    async with ensemble(standby=standby, replica=standby == "async") as e, _streams(e) as streams:
        for name, arguments, check in cases:
            await _inflicted(e, name, arguments, check)
            await e.quiet()
            await _a_row_goes_round(e, streams, f"after {name} {arguments}")


async def _inflicted(e: Ensemble, name: str, arguments: dict[str, Any], check: Check) -> None:
    try:
        async with FAULTS[name](e, **arguments):
            await check(e)
    except Exception as error:
        raise AssertionError(f"{name} {arguments}") from error


async def _a_row_goes_round(e: Ensemble, streams: list[EventSource], text: str) -> None:
    async with e.sql() as session:
        await session.execute("INSERT INTO notifications (user_id, message) VALUES (1, %s)", [text])
    for stream in streams:
        await stream.until(lambda stream=stream: text in stream.messages)  # type: ignore[misc]


@asynccontextmanager
async def _streams(e: Ensemble) -> AsyncIterator[list[EventSource]]:
    async with open_stream(f"{e.client_urls[0]}/events/1") as one, open_stream(f"{e.client_urls[1]}/events/1") as two:
        yield [one, two]
