"""Each mode of the wire is seen on real sockets, since every test of a fault believes it."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import httpx
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from redis.asyncio import Redis

from rowcast.embedded import Server
from tests.waiting import until
from tests.wire import Wire, wire


@dataclass
class Echo:
    """A server that says back what it hears, and tells of each connection what it heard and how it ended."""

    url: str = ""
    heard: list[bytearray] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        mine = bytearray()
        self.heard.append(mine)
        try:
            while data := await reader.read(1 << 16):
                mine += data
                writer.write(data)
                await writer.drain()
            self.ends.append("end")
        except ConnectionError:
            self.ends.append("reset")
        finally:
            writer.close()


@asynccontextmanager
async def listening(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    made = Echo()
    async with listening(made.serve) as made.url:
        yield made


@pytest.fixture
async def wired(echo: Echo) -> AsyncIterator[Wire]:
    async with wire(echo.url) as made:
        yield made


@dataclass
class Client:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def says(self, words: bytes) -> bytes:
        """What comes back, as much as was said."""
        self.writer.write(words)
        return await self.hears(len(words))

    async def hears(self, count: int) -> bytes:
        async with asyncio.timeout(5):
            return await self.reader.readexactly(count)

    async def hears_nothing(self) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await self.reader.read(1)

    async def is_reset(self) -> None:
        async with asyncio.timeout(5):
            with pytest.raises(ConnectionResetError):
                await self.reader.read(-1)


@pytest.fixture
async def connect(wired: Wire) -> AsyncIterator[Callable[[], Awaitable[Client]]]:
    made: list[Client] = []

    async def connect_once() -> Client:
        made.append(Client(*await asyncio.open_connection("127.0.0.1", wired.port)))
        return made[-1]

    yield connect_once
    for client in made:
        with suppress(ConnectionError):
            client.writer.close()
            await client.writer.wait_closed()


Connect = Callable[[], Awaitable[Client]]


async def test_it_carries_both_ways_and_passes_ends_on(wired: Wire, echo: Echo, connect: Connect) -> None:
    client = await connect()
    assert await client.says(b"x" * 3_000_000) == b"x" * 3_000_000
    assert (wired.connections, wired.opened) == (1, 1)
    client.writer.write_eof()
    assert await client.reader.read() == b""
    await until(lambda: wired.connections == 0)
    assert (echo.ends, wired.opened) == (["end"], 1)


async def test_a_servers_last_words_arrive_before_its_end() -> None:
    async def last_words(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"y" * 3_000_000)
        writer.close()

    async with listening(last_words) as url, wire(url) as wired:
        reader, writer = await asyncio.open_connection("127.0.0.1", wired.port)
        writer.write_eof()
        assert len(await reader.read(-1)) == 3_000_000
        writer.close()


async def test_a_reset_is_passed_on(wired: Wire, echo: Echo, connect: Connect) -> None:
    client = await connect()
    await client.says(b"x")
    client.writer.transport.abort()
    await until(lambda: wired.connections == 0)
    assert len(echo.ends) == 1


async def test_a_black_hole_keeps_connections_open_and_swallows_all(wired: Wire, echo: Echo, connect: Connect) -> None:
    idle, busy, gone = await connect(), await connect(), await connect()
    for client in (idle, busy, gone):
        await client.says(b"before")
    wired.black_hole()
    busy.writer.write(b"lost")
    gone.writer.close()
    later = await connect()
    later.writer.write(b"lost too")
    await wired.swallows(b"lost too", "up")
    for client in (busy, later):
        await client.hears_nothing()
    assert echo.heard == [b"before"] * 3, "a server never hears of it, and nothing of connections made meanwhile"
    assert echo.ends == [], "not even that a client has gone"
    wired.heal()
    for client in (busy, later):
        await client.is_reset()
    await until(lambda: sorted(echo.ends) == ["reset", "reset"])
    assert await idle.says(b"after") == b"after", "TCP outlives a silence in which nothing was said"


async def test_replies_alone_can_be_dropped(wired: Wire, echo: Echo, connect: Connect) -> None:
    client = await connect()
    wired.black_hole(up=False)
    later = await connect()
    client.writer.write(b"now")
    later.writer.write(b"later")
    await wired.swallows(b"now")
    await wired.swallows(b"later")
    assert sorted(echo.heard) == [b"later", b"now"]
    await client.hears_nothing()
    wired.heal()
    await client.is_reset()
    await later.is_reset()


async def test_what_is_held_arrives_late_and_in_order(wired: Wire, echo: Echo, connect: Connect) -> None:
    client = await connect()
    await client.says(b"before")
    wired.hold()
    for number in range(5):
        client.writer.write(b"%d" % number)
    later = await connect()
    later.writer.write(b"later")
    await client.hears_nothing()
    assert [bytes(words) for words in echo.heard if words] == [b"before"]
    wired.heal()
    assert await client.hears(5) == b"01234"
    assert await later.hears(5) == b"later"


async def test_a_reset_breaks_present_connections_at_both_ends(wired: Wire, echo: Echo, connect: Connect) -> None:
    client = await connect()
    await client.says(b"x")
    wired.reset()
    await client.is_reset()
    await until(lambda: echo.ends == ["reset"])
    assert await (await connect()).says(b"y") == b"y"


async def test_a_refused_connection_is_refused_and_the_port_stays_ours(
    wired: Wire, echo: Echo, connect: Connect
) -> None:
    client = await connect()
    await client.says(b"x")
    for _ in range(2):
        wired.refuse()
        with pytest.raises(ConnectionRefusedError):
            await connect()
        assert await client.says(b"still there") == b"still there"
        wired.heal()
        assert await (await connect()).says(b"y") == b"y"


async def test_a_server_that_is_not_there_is_a_reset(connect: Connect, wired: Wire) -> None:
    wired.retarget("redis://127.0.0.1:9")
    await (await connect()).is_reset()


async def test_later_connections_can_be_led_elsewhere(wired: Wire, connect: Connect) -> None:
    other = Echo()
    async with listening(other.serve) as url:
        client = await connect()
        await client.says(b"x")
        wired.retarget(url)
        await (await connect()).says(b"y")
        await client.says(b"z")
    assert other.heard == [b"y"]


async def test_a_delay_is_one_of_time_and_not_of_width(wired: Wire, connect: Connect) -> None:
    client = await connect()
    wired.delay(0.15)
    begun = time.monotonic()
    for number in range(10):
        client.writer.write(b"%d" % number)
        await asyncio.sleep(0.01)  # ten packets, one after another
    assert await client.hears(10) == b"0123456789"
    assert 0.3 <= time.monotonic() - begun < 1.5
    wired.heal()
    await client.says(b"x")


async def test_a_throttled_wire_carries_so_much_in_all_and_lets_the_sender_feel_it(
    wired: Wire, echo: Echo, connect: Connect
) -> None:
    one, two = await connect(), await connect()
    wired.throttle(20_000)
    begun = time.monotonic()
    one.writer.write(b"1" * 5_000)
    two.writer.write(b"2" * 5_000)
    await one.hears(5_000)
    await two.hears(5_000)
    assert time.monotonic() - begun >= 0.4
    one.writer.write(b"3" * 20_000_000)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await one.writer.drain()
    wired.heal()
    await one.hears(20_000_000)


async def test_slices_come_one_by_one(wired: Wire, echo: Echo, connect: Connect) -> None:
    client = await connect()
    wired.slice(3, pause=0.01)
    client.writer.write(b"0123456789")
    sizes = [len(await client.reader.read(100)) for _ in range(4)]
    assert max(sizes) <= 6, "two pieces at most come together"
    assert sum(sizes) <= 10


@pytest.mark.parametrize("nbytes", [1, 7, 100_000])
async def test_a_connection_is_cut_in_mid_message(wired: Wire, nbytes: int) -> None:
    wired.cut_after(10)
    with socket.create_connection(("127.0.0.1", wired.port)) as present:
        await asyncio.to_thread(present.sendall, b"short")
        assert await asyncio.to_thread(present.recv, 100) == b"short"
        wired.cut_after(nbytes)
        assert await asyncio.to_thread(_until_reset, present) == nbytes
    with socket.create_connection(("127.0.0.1", wired.port)) as later:
        assert await asyncio.to_thread(_until_reset, later) == nbytes
    wired.heal()
    with socket.create_connection(("127.0.0.1", wired.port)) as after:
        await asyncio.to_thread(after.sendall, b"after")
        assert await asyncio.to_thread(after.recv, 100) == b"after"


def _until_reset(client: socket.socket) -> int:
    """How much an echo of 200,000 bytes brings. (An asyncio reader would forget what it has when the reset comes.)"""
    client.settimeout(5)
    client.sendall(b"z" * 200_000)
    heard = 0
    with suppress(ConnectionResetError):
        while data := client.recv(1 << 16):
            heard += len(data)
        raise AssertionError("an orderly end")
    return heard


async def test_a_request_is_cut_in_mid_message_and_only_once(wired: Wire, echo: Echo, connect: Connect) -> None:
    client = await connect()
    await client.says(b"before")
    wired.cut_after(3, "up", once=True)
    client.writer.write(b"request")
    await client.is_reset()
    await until(lambda: echo.ends == ["reset"])
    assert echo.heard == [b"beforereq"]
    assert await (await connect()).says(b"request") == b"request"


async def test_words_the_server_never_said(wired: Wire, connect: Connect) -> None:
    client = await connect()
    await client.says(b"x")
    wired.inject(b"surprise")
    assert await client.hears(8) == b"surprise"


async def test_it_leads_to_postgres_redis_and_http(database_url: str, valkey: Server, web_url: str) -> None:
    named = make_conninfo(database_url, application_name="over the wire", connect_timeout=3)
    words = conninfo_to_dict(named)
    place = "postgresql://{user}:{password}@{host}:{port}/{dbname}".format(**words)
    for target in (named, f"{place}?application_name=over%20the%20wire&connect_timeout=3"):
        async with wire(target) as way, await psycopg.AsyncConnection.connect(way.url) as sql:
            row = await (await sql.execute("SELECT current_setting('application_name')")).fetchone()
            assert (row, way.opened) == (("over the wire",), 1)
    async with wire(valkey.url) as way, Redis.from_url(way.url) as redis:
        assert await redis.ping()
        assert way.opened == 1
    async with wire(web_url) as way, httpx.AsyncClient(trust_env=False) as http:
        assert (await http.get(f"{way.url}/healthz")).status_code == httpx.codes.OK
        assert way.opened == 1


async def test_what_the_block_raises_is_raised_plainly_and_nothing_stays_open(echo: Echo) -> None:
    made: list[Wire] = []

    async def fail() -> None:
        async with wire(echo.url) as wired:
            made.append(wired)
            clients.append(Client(*await asyncio.open_connection("127.0.0.1", wired.port)))
            await clients[0].says(b"x")
            raise ZeroDivisionError

    clients: list[Client] = []
    with pytest.raises(ZeroDivisionError):
        await fail()
    await clients[0].is_reset()
    clients[0].writer.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", made[0].port)


@pytest.mark.parametrize("turns", range(6))
async def test_who_comes_as_it_closes_does_not_hold_it_up(echo: Echo, turns: int) -> None:
    """Taken, and not yet carried."""
    async with asyncio.timeout(5):
        async with wire(echo.url) as made:
            late = socket.create_connection(("127.0.0.1", made.port))
            for _ in range(turns):
                await asyncio.sleep(0)
        late.close()
