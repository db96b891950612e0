"""nginx and HAProxy in front of two web processes, set up by what the docs say: whoever dies, no client notices but by a new connection."""

from __future__ import annotations

import asyncio
import re
import signal
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.checkout import block
from tests.event_source import open_stream
from tests.parts import require
from tests.promises.load import under_load
from tests.rig import Rig, free_port, ready
from tests.servers import folder

pytestmark = pytest.mark.slow

ADDRESSES = ("10.0.0.1:8000", "10.0.0.2:8000")
NGINX = """
daemon off; pid {state}/pid; error_log stderr; {account}
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {state}/body; proxy_temp_path {state}/proxy; fastcgi_temp_path {state}/fastcgi;
    uwsgi_temp_path {state}/uwsgi; scgi_temp_path {state}/scgi;
    {upstream}
    server {{ listen 127.0.0.1:{port}; location / {{ {location} }} }}
}}
"""


def nginx(state: Path, port: int) -> tuple[list[str], str]:
    """Its command, which reads the file `config` there, and what is to be in that."""
    alone = block("deployment.md", "nginx")
    inside = alone[alone.index("{") + 1 : alone.rindex("}")]
    location = re.sub(r"proxy_pass .*;", "", inside) + block(
        "scaling.md", "in location / { … }, in place of the proxy_pass of deployment.md"
    )
    account = "user root;" if state.owner() == "root" else ""
    upstream = block("scaling.md", "nginx: in http { … }")
    config = NGINX.format(state=state, port=port, upstream=upstream, location=location, account=account)
    return [str(require("nginx")), "-p", str(state), "-e", "stderr", "-c", str(state / "config")], config


def haproxy(state: Path, port: int) -> tuple[list[str], str]:
    """The same."""
    config = block("scaling.md", "HAProxy").replace("bind :80", f"bind 127.0.0.1:{port}")
    return [str(require("haproxy")), "-db", "-f", str(state / "config")], textwrap.dedent(config) + "\n"


@asynccontextmanager
async def balanced(name: str, *ports: int) -> AsyncIterator[tuple[str, asyncio.StreamReader]]:
    """The URL of that balancer in front of those ports, and what it tells."""
    port = free_port()
    with folder() as state:
        command, config = (nginx if name == "nginx" else haproxy)(state, port)
        for address, behind in zip(ADDRESSES, ports, strict=True):
            assert address in config
            config = config.replace(address, f"127.0.0.1:{behind}")
        (state / "config").write_text(config, "utf-8")
        process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
        assert process.stderr is not None
        try:
            url = f"http://127.0.0.1:{port}"
            await ready(url)
            yield url, process.stderr
        finally:
            process.terminate()
            await process.wait()


@pytest.mark.parametrize("name", ["nginx", "haproxy"])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "ended"])
async def test_one_process_after_the_other_goes_and_comes_back(own: Rig, name: str, how: signal.Signals) -> None:
    await own.bridge()
    ports = free_port(), free_port()
    webs = [(await own.web(port=port))[1] for port in ports]
    async with balanced(name, *ports) as (url, _), under_load(own, url) as load:
        for number, port in enumerate(ports):
            webs[number].send(how)
            await webs[number].ended()
            await load.flows()
            await own.web(port=port)
            await load.flows()
        assert {status for stream in load.streams for status in stream.statuses} == {200}
        assert sum(stream.connections for stream in load.streams) > len(load.streams)


async def test_haproxy_uses_what_it_has_when_no_process_is_ready(own: Rig) -> None:
    bridge = await own.bridge()
    ports = free_port(), free_port()
    for port in ports:
        await own.web(port=port)
    async with balanced("haproxy", *ports) as (url, told):
        await bridge.kill()
        await _says(told, b"Running on backup.")
        async with open_stream(f"{url}/events/1") as stream:
            await stream.live()
            await own.bridge()
            await own.insert(1, "there again")
            await stream.receives("there again")


async def _says(told: asyncio.StreamReader, words: bytes, *, within: float = 30.0) -> None:
    async with asyncio.timeout(within):
        async for line in told:
            if words in line:
                return
    raise AssertionError(f"it ended and never said {words!r}")
