"""What streams missed, read in batches: each stream gets its own, from a snapshot begun after it asked, whatever becomes of the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.clock import SystemClock
from core.errors import DatabaseUnavailableError, SlowReadError, StaleReadError
from core.user_ids import UserIdType
from db import history as history_module
from db.connect import DatabaseConfig, open_pool
from db.history import Asked, History, Page, Pool
from rowcast.embedded import Server
from tests.db.databases import Databases
from tests.waiting import running, turns, until
from tests.web.air import Reader, open_air
from tests.web.log import Log, nobody_reads, open_log, reads_wait
from web import backlogs as module
from web.backlogs import Backlogs
from web.stream import Since


class Watched(History):
    """Notes each batch; a test may keep the answer of one back, once it is read."""

    def __init__(self, pool: Pool, batches: Pool) -> None:
        super().__init__(pool, batches=batches)
        self.sizes: list[int] = []
        self.read = 0
        self.broken_up = False
        self.let_go = asyncio.Event()
        self.let_go.set()

    async def replay_many(self, asked: Sequence[Asked], *, limit: float) -> list[Page | StaleReadError]:
        self.sizes.append(len(asked))
        try:
            pages = await super().replay_many(asked, limit=limit)
        except SlowReadError:
            self.broken_up = True
            raise
        self.read += 1
        await self.let_go.wait()
        return pages


class Ahead(SystemClock):
    """A clock that can be put on."""

    def __init__(self) -> None:
        super().__init__()
        self.ahead = 0.0

    def now(self) -> float:
        return super().now() + self.ahead


class Desk:
    """Backlogs over a log of the test's own."""

    def __init__(self, log: Log, history: Watched, batches: Pool) -> None:
        self.log = log
        self.history = history
        self.batches = batches
        self.clock = Ahead()
        self.backlogs = Backlogs(history, self.clock)

    async def ask(self, user: int, *, after: int = 0, known: int = 0) -> Page:
        return await self.backlogs.page(str(user), after=after, upto=None, unread=False, known=lambda: known)

    async def session(self) -> int:
        """The process id of the one session that batches are read on."""
        async with self.batches.connection() as connection:
            return connection.info.backend_pid


@asynccontextmanager
async def open_desk(url: str) -> AsyncIterator[Desk]:
    config = DatabaseConfig(url, 1)
    async with (
        open_log(url) as (log, _),
        open_pool(DatabaseConfig(url), name="test web") as pool,
        open_pool(config, name="test backlog", ordered=True) as batches,
    ):
        desk = Desk(log, Watched(pool, batches), batches)
        async with running(desk.backlogs.run()):
            yield desk


@pytest.fixture
async def desk(databases: Databases) -> AsyncIterator[Desk]:
    with databases.migrated() as url:
        async with open_desk(url) as made:
            yield made


def seqs(page: Page) -> list[int]:
    return [event.seq for event in page.events]


async def ask_all(desk: Desk, tasks: asyncio.TaskGroup, users: Sequence[int]) -> list[asyncio.Task[Page]]:
    """All of these ask while the one before them is being read."""
    desk.history.let_go.clear()
    first = tasks.create_task(desk.ask(0))
    await until(lambda: len(desk.history.sizes) > 0)
    asked = [tasks.create_task(desk.ask(user)) for user in users]
    await turns()
    assert not first.done()
    return asked


async def test_what_waits_is_read_in_batches_and_each_gets_its_own(desk: Desk) -> None:
    await desk.log.add(*range(1, 201), None)
    async with asyncio.TaskGroup() as tasks:
        asked = await ask_all(desk, tasks, range(1, 201))
        desk.history.let_go.set()
        pages = [await one for one in asked]
    assert desk.history.sizes == [1, module.MOST, 200 - module.MOST]
    assert [seqs(page) for page in pages] == [[user, 201] for user in range(1, 201)]
    assert {event.user_id for page in pages for event in page.events} == {None, *map(str, range(1, 201))}


async def test_one_that_comes_alone_waits_for_nobody(desk: Desk) -> None:
    await desk.log.add(1)
    for _ in range(3):
        assert seqs(await desk.ask(1)) == [1]
    assert desk.history.sizes == [1, 1, 1]


async def test_the_snapshot_is_begun_after_the_stream_asked(desk: Desk) -> None:
    """Rules 4.3, 5.1: a read that was under way when it asked is no answer to it, though it is of the same user."""
    desk.history.let_go.clear()
    async with asyncio.TaskGroup() as tasks:
        early = tasks.create_task(desk.ask(1))
        await until(lambda: desk.history.read == 1)
        await desk.log.add(1)
        late = tasks.create_task(desk.ask(1))
        await turns()
        desk.history.let_go.set()
    assert (seqs(early.result()), seqs(late.result())) == ([], [1])
    assert late.result().last_seq == 1


async def test_each_judges_the_snapshot_by_what_it_knew_itself(desk: Desk) -> None:
    """Rule 4.5: who knows of more than it saw does not believe it, and all others do."""
    await desk.log.add(1, 2, 3)
    before = await desk.session()
    desk.history.let_go.clear()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(desk.ask(0))
        await until(lambda: len(desk.history.sizes) > 0)
        asked = [tasks.create_task(_result(desk.ask(user, known=known))) for user, known in ((1, 3), (2, 4), (3, 0))]
        await turns()
        desk.history.let_go.set()
    answers = [one.result() for one in asked]
    assert desk.history.sizes == [1, 3]
    assert [type(answer) for answer in answers] == [Page, StaleReadError, Page]
    assert await desk.session() != before, "the next try must reach another server"


async def _result(page: Awaitable[Page]) -> object:
    try:
        return await page
    except DatabaseUnavailableError as error:
        return error


async def test_streams_that_leave_harm_neither_the_session_nor_the_others(desk: Desk) -> None:
    """A cancelled read leaves its answer in the session for whoever comes next: so no stream's end cancels one."""
    await desk.log.add(*range(1, 41))
    before = await desk.session()
    async with asyncio.TaskGroup() as tasks:
        asked = await ask_all(desk, tasks, range(1, 21))
        for left in asked[::2]:
            left.cancel()
        desk.history.let_go.set()
        await until(lambda: len(desk.history.sizes) == 2)
        more = [tasks.create_task(desk.ask(user)) for user in range(21, 41)]
        for left in more[::2]:
            left.cancel()
    assert desk.history.sizes[1] == 10, "who has left already is not asked for"
    for user, stayed in zip(range(2, 21, 2), asked[1::2], strict=True):
        assert seqs(stayed.result()) == [user]
    for user, stayed in zip(range(22, 41, 2), more[1::2], strict=True):
        assert seqs(stayed.result()) == [user]
    assert await desk.session() == before


async def test_a_slow_read_is_broken_up_and_those_that_were_slow_stay_out_of_batches(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waits behind a slow row of somebody else waits for PATIENCE at most."""
    monkeypatch.setattr(module, "PATIENCE", 0.2)
    await desk.log.add(*range(1, 41))
    with nobody_reads(desk.log.url):
        asked = [asyncio.create_task(desk.ask(user)) for user in range(1, 41)]
        await until(lambda: _reads_wait_alone(desk))
        desk.clock.ahead += 1.0
    pages = [await one for one in asked]
    assert [seqs(page) for page in pages] == [[user] for user in range(1, 41)]
    assert 0 < len(desk.backlogs._apart) <= module.MOST_APART
    apart = int(next(iter(desk.backlogs._apart)))
    batches = len(desk.history.sizes)
    assert seqs(await desk.ask(apart)) == [apart]
    assert len(desk.history.sizes) == batches, "it is read alone"


async def _reads_wait_alone(desk: Desk) -> bool:
    """The batch was given up, and more than the one session that it had wait."""
    return desk.history.broken_up and await reads_wait(desk.log)


async def test_those_that_were_slow_come_back_after_a_while(desk: Desk) -> None:
    desk.backlogs._apart["1"] = desk.clock.now() + module.APART
    desk.clock.ahead += module.APART + 1
    await desk.log.add(1)
    assert seqs(await desk.ask(1)) == [1]
    assert (desk.history.sizes, desk.backlogs._apart) == ([1], {})


@pytest.mark.parametrize(("ago", "apart"), [(module.APART + 1, {"1"}), (0.0, set(map(str, range(2, 18))))])
async def test_only_who_was_slow_lately_takes_the_place_of_another(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, ago: float, apart: set[str]
) -> None:
    """Or a few that came once and never again would have each batch broken up by the next that are slow."""
    monkeypatch.setattr(module, "PATIENCE", 0.2)
    assert module.MOST_APART == 16
    desk.backlogs._apart |= {str(user): desk.clock.now() + module.APART for user in range(2, 18)}
    desk.clock.ahead += ago
    await desk.log.add(1)
    with nobody_reads(desk.log.url):
        asked = asyncio.create_task(desk.ask(1))
        await until(lambda: _reads_wait_alone(desk))
        desk.clock.ahead += 1.0
    assert seqs(await asked) == [1]
    assert set(desk.backlogs._apart) == apart


async def test_a_postgres_that_is_gone_is_told_to_all_who_wait(desk: Desk) -> None:
    await desk.log.sql.execute("ALTER TABLE rowcast.state RENAME TO hidden")
    async with asyncio.TaskGroup() as tasks:
        asked = [tasks.create_task(_result(desk.ask(user))) for user in range(200)]
    assert {type(one.result()) for one in asked} == {DatabaseUnavailableError}
    assert len(desk.history.sizes) <= 2


async def test_who_waits_when_the_server_stops_is_told(databases: Databases) -> None:
    with databases.migrated() as url:
        async with open_desk(url) as desk:
            desk.history.let_go.clear()
            asked = [asyncio.create_task(_result(desk.ask(user))) for user in range(3)]
            await until(lambda: len(desk.history.sizes) > 0)
        assert {type(await one) for one in asked} == {DatabaseUnavailableError}


async def test_pages_share_what_a_batch_may_have(
    databases: Databases, valkey: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory stays bounded, however many come back at once; and each gets all it missed, in order, in more pages."""
    monkeypatch.setattr(history_module, "BATCH_BYTES", 3000)
    monkeypatch.setattr(history_module, "BATCH_ROWS", 60)
    with databases.migrated() as url:
        async with open_air(url, valkey.url) as air:
            users = list(range(1, 31))
            for _ in range(4):
                await air.log.add(*users, None)
            async with asyncio.TaskGroup() as tasks:
                with nobody_reads(url):
                    waiting = [tasks.create_task(_all_of(air.reading(user, Since.ALL), 8)) for user in users]
                    await until(lambda: air.hub.streams == len(users))
            for user, one in zip(users, waiting, strict=True):
                expected = sorted([*range(user, 124, 31), *range(31, 125, 31)])
                assert one.result() == expected


async def _all_of(opened: AbstractAsyncContextManager[Reader], count: int) -> list[int]:
    async with opened as reader:
        await reader.live()
        await until(lambda: len(reader.seqs) >= count)
        return reader.seqs


# --- the statement


@pytest.fixture(scope="module")
def filled(databases: Databases) -> Iterator[str]:
    """Rows of five users and everyone; some viewed, some pruned, and a term that began."""
    with databases.migrated() as url, psycopg.connect(url, autocommit=True) as sql:
        sql.execute(
            "INSERT INTO notifications (user_id, message, is_viewed, seq) "
            "SELECT nullif(i % 6, 0), repeat('x', (i * 37) % 300), i % 7 = 0, i FROM generate_series(5, 200) AS i"
        )
        sql.execute("INSERT INTO rowcast.viewed SELECT 1, id FROM notifications WHERE user_id IS NULL AND id % 2 = 0")
        sql.execute("INSERT INTO rowcast.terms (start, ended) VALUES (100, 60)")
        sql.execute("UPDATE rowcast.state SET last_seq = 190, pruned_seq = 4")
        yield url


ASKED = st.builds(
    Asked,
    user_id=st.integers(1, 7).map(str),
    after=st.integers(0, 210) | st.just(2**63 - 1),
    upto=st.none() | st.integers(0, 210),
    unread=st.booleans(),
    at_least=st.just(0),
)


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    asked=st.lists(ASKED, min_size=2, max_size=12),
    page=st.sampled_from([3, 500]),
    budget=st.sampled_from([700, 1 << 20]),
)
async def test_many_pages_are_those_of_one_by_one(filled: str, asked: list[Asked], page: int, budget: int) -> None:
    """The same rows, the same end of the log, the same `more`, as History.replay has for each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(history_module._LIMITS, "page", page)
        patch.setitem(history_module._LIMITS, "budget", budget)
        async with open_pool(DatabaseConfig(filled, 1), name="test", ordered=True) as pool:
            history = History(pool)
            pages = await history.replay_many(asked, limit=5)
            for one, found in zip(asked, pages, strict=True):
                assert found == await history.replay(one.user_id, after=one.after, upto=one.upto, unread=one.unread)


async def test_past_what_all_may_have_there_is_nothing_and_more_to_come(
    filled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """… but the first always gets on by a row."""
    monkeypatch.setattr(history_module, "BATCH_BYTES", 1)
    async with open_pool(DatabaseConfig(filled, 1), name="test") as pool:
        asked = [Asked(str(user), 0, None, False, 0) for user in (1, 2, 3)]
        pages = await History(pool).replay_many(asked, limit=5)
    assert all(isinstance(page, Page) for page in pages)
    assert [(len(page.events), page.more) for page in pages if isinstance(page, Page)] == [
        (1, True),
        (0, True),
        (0, True),
    ]


@pytest.mark.parametrize(
    ("kind", "ids"),
    [
        (UserIdType.TEXT, ["a", 'b"{},\\', "NULL", "é"]),
        (UserIdType.UUID, [f"00000000-0000-0000-0000-00000000000{n}" for n in range(4)]),
    ],
)
async def test_user_ids_of_every_type(databases: Databases, kind: UserIdType, ids: list[str]) -> None:
    with databases.migrated(kind) as url, psycopg.connect(url, autocommit=True) as sql:
        for seq, user_id in enumerate(ids, 1):
            sql.execute("INSERT INTO notifications (user_id, message, seq) VALUES (%s, 'hello', %s)", (user_id, seq))
        sql.execute("UPDATE rowcast.state SET last_seq = 4")
        async with open_pool(DatabaseConfig(url, 1), name="test") as pool:
            pages = await History(pool).replay_many([Asked(one, 0, None, True, 0) for one in ids], limit=5)
    found = [[event.user_id for event in page.events] for page in pages if isinstance(page, Page)]
    assert found == [[one] for one in ids]
