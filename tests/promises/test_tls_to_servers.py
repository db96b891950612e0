"""TLS to Postgres and Redis is a setting: the right CA and name lead there, others are refused, with a sentence.

The Valkey of the wheel has no TLS: a proxy in front of it ends it, as stunnel would. Postgres is Debian's, the wheel's has none either.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from core.errors import DatabaseUnavailableError, RedisUnavailableError
from db.migrate import migrate
from fanout.connection import RedisConfig
from fanout.reach import check_redis
from rowcast.embedded import Server
from rowcast.folders import server_account
from tests.certificates import make_certificate
from tests.event_source import open_stream
from tests.parts import ROOT
from tests.rig import rig
from tests.servers import folder
from tests.versions import postgres_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def certificates() -> Iterator[Path]:
    """ca.pem is also the servers' own, for 127.0.0.1 and not 127.0.0.2; other.pem is another's; client.pem that of the login `client`."""
    with folder() as place:
        for name in ("ca", "other", "client"):
            _, keyfile = make_certificate(place, name)
            keyfile.chmod(0o600)
        (place / "hba").write_text(f"{hba_line('client')}\nhost all all all scram-sha-256\n", "utf-8")
        account = server_account()
        if account is not None:
            shutil.chown(place / "ca.key", account.name)
        yield place


@pytest.fixture(scope="module")
def tls_postgres(certificates: Path) -> Iterator[Server]:
    settings = {
        "ssl": "on",
        "ssl_cert_file": str(certificates / "ca.pem"),
        "ssl_key_file": str(certificates / "ca.key"),
        "ssl_ca_file": str(certificates / "client.pem"),
        "hba_file": str(certificates / "hba"),
        "listen_addresses": "127.0.0.1,127.0.0.2",
    }
    with postgres_of(15, settings=settings) as server:
        yield server


@asynccontextmanager
async def tls_in_front_of(
    server: Server, certificates: Path, *, clients: Path | None = None
) -> AsyncIterator[dict[str, int]]:
    """The port of each address of a proxy that ends TLS; `clients`: it wants a certificate of theirs, signed by that one."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates / "ca.pem", certificates / "ca.key")
    if clients is not None:
        context.load_verify_locations(clients)
        context.verify_mode = ssl.CERT_REQUIRED
    async with asyncio.TaskGroup() as tasks:

        async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(OSError):
                while data := await reader.read(1 << 16):
                    writer.write(data)
                    await writer.drain()
            writer.close()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            there, back = await asyncio.open_connection("127.0.0.1", server.port)
            tasks.create_task(pass_on(there, writer))
            await pass_on(reader, back)

        listening = await asyncio.start_server(serve, ["127.0.0.1", "127.0.0.2"], 0, ssl=context)
        try:
            yield dict(each.getsockname() for each in listening.sockets)
        finally:
            listening.close()
            for task in list(tasks._tasks):
                task.cancel()


def redis_url(server: Server, ports: dict[str, int], query: str, *, host: str = "127.0.0.1") -> str:
    return f"rediss://:{urlsplit(server.url).password}@{host}:{ports[host]}/0?{query}"


def section() -> str:
    page = (ROOT / "docs/deployment.md").read_text("utf-8")
    return page.partition("TLS to Postgres and Redis\n")[2].partition("\n## ")[0]


def hba_line(login: str) -> str:
    """The line of the page that has this login show a certificate."""
    [line] = re.findall(r"^ +(hostssl .+ cert)$", section(), re.MULTILINE)
    return re.sub(r"\bapp app_web\b", f"all {login}", str(line))


def test_the_page_says_how() -> None:
    for option in (
        "sslmode=verify-full",
        "sslrootcert=",
        "sslcert=",
        "sslkey=",
        "rediss://",
        "ssl_ca_certs=",
        "ssl_certfile=",
        "ssl_keyfile=",
    ):
        assert option in section()
    assert not re.search(r"ssl_cert_reqs=none|sslmode=(require|prefer)\b", section())


async def test_all_parts_run_by_tls(tls_postgres: Server, valkey: Server, certificates: Path) -> None:
    ca = certificates / "ca.pem"
    database_url = f"{tls_postgres.url}?sslmode=verify-full&sslrootcert={ca}"
    async with (
        tls_in_front_of(valkey, certificates) as ports,
        rig(database_url, redis_url(valkey, ports, f"ssl_ca_certs={ca}"), prefix="tls") as own,
    ):
        await own.migrate()
        bridge = await own.bridge()
        await bridge.logged("leader.leading")
        url, _ = await own.web()
        async with open_stream(f"{url}/events/1") as stream:
            await stream.live()
            await own.insert(1, "by TLS")
            await stream.receives("by TLS")
        async with own.sql() as session:
            asked = "SELECT count(*), bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name LIKE 'rowcast%'"
            row = await (await session.execute(asked)).fetchone()
            assert row is not None
            assert row[0] > 2
            assert row[1] is True


async def test_the_wrong_ca_or_name_is_refused_with_a_sentence(
    tls_postgres: Server, valkey: Server, certificates: Path
) -> None:
    ca, other = certificates / "ca.pem", certificates / "other.pem"
    elsewhere = tls_postgres.url.replace("127.0.0.1", "127.0.0.2")
    for url, sentence in (
        (f"{tls_postgres.url}?sslmode=verify-full&sslrootcert={other}", "certificate verify failed"),
        (f"{elsewhere}?sslmode=verify-full&sslrootcert={ca}", "does not match host name"),
    ):
        with pytest.raises(DatabaseUnavailableError, match=sentence):
            migrate(url, say=lambda _: None)
    async with tls_in_front_of(valkey, certificates) as ports:
        for url, sentence in (
            (redis_url(valkey, ports, f"ssl_ca_certs={other}"), "certificate verify failed"),
            (redis_url(valkey, ports, ""), "certificate verify failed"),
            (redis_url(valkey, ports, f"ssl_ca_certs={ca}", host="127.0.0.2"), "IP address mismatch"),
        ):
            with pytest.raises(RedisUnavailableError, match=sentence):
                await check_redis(RedisConfig(url))
        await check_redis(RedisConfig(redis_url(valkey, ports, f"ssl_ca_certs={ca}")))


async def test_a_redis_that_wants_certificates_of_its_clients_gets_one(valkey: Server, certificates: Path) -> None:
    ca, mine = certificates / "ca.pem", certificates / "other"
    async with tls_in_front_of(valkey, certificates, clients=mine.with_suffix(".pem")) as ports:
        shown = f"ssl_ca_certs={ca}&ssl_certfile={mine}.pem&ssl_keyfile={mine}.key"
        await check_redis(RedisConfig(redis_url(valkey, ports, shown)))
        with pytest.raises(RedisUnavailableError):
            await check_redis(RedisConfig(redis_url(valkey, ports, f"ssl_ca_certs={ca}")))


async def test_a_postgres_that_wants_certificates_of_its_clients_gets_one(
    tls_postgres: Server, valkey: Server, certificates: Path
) -> None:
    """In place of a password, and for the login that it names."""
    port, ca = tls_postgres.port, certificates / "ca.pem"

    def by(certificate: str) -> str:
        shown = f"sslcert={certificates / certificate}.pem&sslkey={certificates / certificate}.key"
        return f"postgresql://client@127.0.0.1:{port}/rowcast?sslmode=verify-full&sslrootcert={ca}&{shown}"

    with psycopg.connect(tls_postgres.url, autocommit=True) as owner:
        migrate(tls_postgres.url, roles=True, say=lambda _: None)
        owner.execute("CREATE ROLE client LOGIN IN ROLE rowcast_bridge, rowcast_web")
    async with rig(tls_postgres.url, valkey.url, prefix="certificate") as own:
        bridge = await own.bridge(database_url=by("client"))
        await bridge.logged("leader.leading")
        url, _ = await own.web(database_url=by("client"))
        async with open_stream(f"{url}/events/2") as stream:
            await stream.live()
            await own.insert(2, "by a certificate")
            await stream.receives("by a certificate")
    for certificate, sentence in (("other", "unknown ca"), ("none", "requires a valid client certificate")):
        with pytest.raises(DatabaseUnavailableError, match=sentence):
            migrate(by(certificate), say=lambda _: None)
