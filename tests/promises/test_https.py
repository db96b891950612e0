"""TLS as people meet it: a browser's tabs share one connection, other clients speak what they like, a wrong file is told at start."""

from __future__ import annotations

import subprocess
from pathlib import Path

import httpx
import pytest

from tests.certificates import make_certificate, trusting
from tests.parts import SERVER
from tests.rig import Rig
from tests.rowcast.served import at_kernel
from tests.waiting import until
from tests.web.inbox import chromium

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

TABS = 20
_OPEN = """async count => {
    window.got = [];
    await Promise.all([...Array(count)].map((_, user) => new Promise(live => {
        const source = new EventSource(`/events/${user + 1}`);
        source.onmessage = event => window.got.push(JSON.parse(event.data).message);
        source.addEventListener('hello', live);
    })));
    return performance.getEntriesByType('navigation')[0].nextHopProtocol;
}"""


async def served(own: Rig, folder: Path) -> tuple[str, Path]:
    """The URL of a web that speaks TLS, and the certificate to believe."""
    certfile, keyfile = make_certificate(folder)
    url, _ = await own.web_unready("--certfile", str(certfile), "--keyfile", str(keyfile))
    secure = url.replace("http://127.0.0.1", "https://localhost")

    async def ready() -> bool:
        try:
            async with httpx.AsyncClient(trust_env=False, verify=trusting(certfile)) as http:
                return (await http.get(f"{secure}/readyz")).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    await until(ready, timeout=60)
    return secure, certfile


@pytest.mark.skipif(SERVER == "uvicorn", reason="uvicorn speaks HTTP/1.1, of which a browser opens six connections")
async def test_more_streams_than_http1_could_hold_share_a_browsers_connection(own: Rig, tmp_path: Path) -> None:
    await own.bridge()
    url, _ = await served(own, tmp_path)
    port = int(url.rpartition(":")[2])
    async with chromium() as browser:
        context = await browser.new_context(ignore_https_errors=True)
        page = await context.new_page()
        await page.goto(f"{url}/healthz")
        assert await page.evaluate(_OPEN, TABS) == "h2"
        assert len(at_kernel(port)) <= 2, "one connection, and perhaps one that the browser had opened in advance"
        for user in range(1, TABS + 1):
            await own.insert(user, f"for {user}")
        await page.wait_for_function(f"window.got.length === {TABS}")
        assert sorted(await page.evaluate("window.got")) == sorted(f"for {user}" for user in range(1, TABS + 1))
        await context.close()


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
async def test_curl_streams_over_tls(own: Rig, tmp_path: Path, version: str) -> None:
    await own.bridge()
    url, certfile = await served(own, tmp_path)
    await own.insert(1, "hello")
    asked = ["curl", "-sN", version, "--cacert", str(certfile), "--max-time", "3", "-w", "%{http_version}"]
    got = subprocess.run([*asked, f"{url}/events/1"], capture_output=True, text=True, check=False)
    assert '"message":"hello"' in got.stdout
    assert got.stdout.endswith("2" if version == "--http2" and SERVER == "hypercorn" else "1.1")


async def test_a_key_of_another_certificate_ends_the_start_with_a_sentence(own: Rig, tmp_path: Path) -> None:
    certfile, _ = make_certificate(tmp_path)
    _, other = make_certificate(tmp_path, "other")
    _, web = await own.web_unready("--certfile", str(certfile), "--keyfile", str(other))
    assert await web.ended() == 2
    assert "is not that of the certificate" in web.log
    assert "Traceback" not in web.log
