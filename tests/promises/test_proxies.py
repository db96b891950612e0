"""nginx and HAProxy with the lines of docs/security.md: the caps count by the client's own address, whatever it writes into its headers."""

from __future__ import annotations

import asyncio
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.certificates import make_certificate, trusting
from tests.checkout import block
from tests.event_source import EventSource
from tests.parts import require
from tests.promises.test_balancers import NGINX
from tests.rig import Rig, free_port, ready
from tests.servers import folder
from tests.waiting import running

pytestmark = pytest.mark.slow

_LISTEN = "listen 127.0.0.1:{secure} ssl; ssl_certificate {certfile}; ssl_certificate_key {keyfile};"
_HAPROXY = """
defaults
    mode http
    timeout connect 2s
    timeout client 60s
    timeout server 60s
frontend public
    bind 127.0.0.1:{port}
    bind 127.0.0.1:{secure} ssl crt {state}/both.pem
    default_backend rowcast
{lines}
backend rowcast
    server one 127.0.0.1:{behind}
"""


@dataclass
class Proxy:
    """Two ports in front of a web, the second by TLS; each client says from which address of this machine it comes."""

    port: int
    secure: int
    certfile: Path

    @asynccontextmanager
    async def client(self, address: str, *, tls: bool = False) -> AsyncIterator[httpx.AsyncClient]:
        transport = httpx.AsyncHTTPTransport(verify=trusting(self.certfile), local_address=address)
        url = f"https://127.0.0.1:{self.secure}" if tls else f"http://127.0.0.1:{self.port}"
        timeout = httpx.Timeout(None, connect=5)
        async with httpx.AsyncClient(transport=transport, base_url=url, timeout=timeout, trust_env=False) as http:
            yield http

    @asynccontextmanager
    async def stream(self, address: str, **headers: str) -> AsyncIterator[EventSource]:
        """One that is not opened again."""
        async with self.client(address) as http:
            source = EventSource(http, "/events/1", {name.replace("_", "-"): said for name, said in headers.items()})
            async with running(source.run(again=False)):
                yield source

    async def admits(self, address: str, **headers: str) -> bool:
        """Does a stream open? If not, it is one that ends at once and says when to come back."""
        async with self.stream(address, **headers) as source:
            await source.until(lambda: bool(source.ends or source.of_type("hello")))
            opened = bool(source.of_type("hello"))
            assert opened or source.raw.startswith(b"retry: ")
            return opened

    async def strict(self, address: str, *, tls: bool = False, **headers: str) -> bool:
        """Is it told to come by https only, as who came by it is?"""
        said = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.client(address, tls=tls) as http:
            return "strict-transport-security" in (await http.get("/healthz", headers=said)).headers


def nginx(state: Path, proxy: Proxy, behind: int) -> list[str]:
    """Its command, once its file is written."""
    keyfile = proxy.certfile.with_suffix(".key")
    tls = _LISTEN.format(secure=proxy.secure, certfile=proxy.certfile, keyfile=keyfile)
    lines = block("security.md", "nginx, in the location")
    location = f"proxy_pass http://127.0.0.1:{behind}; proxy_http_version 1.1;\n{lines}"
    account = "user root;" if state.owner() == "root" else ""
    config = NGINX.format(state=state, port=proxy.port, upstream="", location=location, account=account)
    (state / "config").write_text(config.replace("server {", f"server {{ {tls}"), "utf-8")
    return [str(require("nginx")), "-p", str(state), "-e", "stderr", "-c", str(state / "config")]


def haproxy(state: Path, proxy: Proxy, behind: int) -> list[str]:
    """The same."""
    both = proxy.certfile.read_text("utf-8") + proxy.certfile.with_suffix(".key").read_text("utf-8")
    (state / "both.pem").write_text(both, "utf-8")
    lines = textwrap.indent(textwrap.dedent(block("security.md", "HAProxy, in the frontend")), "    ")
    config = _HAPROXY.format(state=state, port=proxy.port, secure=proxy.secure, behind=behind, lines=lines)
    (state / "config").write_text(config, "utf-8")
    return [str(require("haproxy")), "-db", "-f", str(state / "config")]


@asynccontextmanager
async def proxied(name: str, behind: int) -> AsyncIterator[Proxy]:
    """That proxy in front of this port."""
    with folder() as state:
        certfile, _ = make_certificate(state)
        proxy = Proxy(free_port(), free_port(), certfile)
        command = (nginx if name == "nginx" else haproxy)(state, proxy, behind)
        process = await asyncio.create_subprocess_exec(*command)
        try:
            await ready(f"http://127.0.0.1:{proxy.port}")
            yield proxy
        finally:
            process.terminate()
            await process.wait()


@pytest.mark.parametrize("name", ["nginx", "haproxy"])
async def test_by_the_lines_of_the_page_each_client_is_itself_whatever_it_writes(own: Rig, name: str) -> None:
    """One stream for each address: those of the clients, not the proxy's and none that a client made up. And rows come at once."""
    await own.bridge()
    port = free_port()
    await own.web(port=port, trusted_proxies="127.0.0.1", streams_per_address="1")
    me, other, third = "127.0.0.2", "127.0.0.3", "127.0.0.4"
    async with proxied(name, port) as proxy:
        forged = {"X_Forwarded_For": third, "Forwarded": f"for={third}", "X_Forwarded_Proto": "https"}
        async with proxy.stream(me, **forged) as mine, proxy.stream(other, **forged) as others:
            await mine.live()
            await others.live()
            assert not await proxy.admits(me)
            assert not await proxy.admits(me, X_Forwarded_For="127.0.0.9", Forwarded="for=127.0.0.9")
            assert await proxy.admits(third, X_Forwarded_For=me, Forwarded=f"for={other}")
            await own.insert(1, "through a proxy")
            await mine.receives("through a proxy")
        assert await proxy.strict(me, tls=True)
        assert await proxy.strict(me, tls=True, X_Forwarded_Proto="http", Forwarded="for=127.0.0.9;proto=http")
        assert not await proxy.strict(me, X_Forwarded_Proto="https", Forwarded=f"for={me};proto=https")
