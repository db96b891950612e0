"""Tokens, by real processes: secrets from files that nothing tells, and keys that are published elsewhere."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import psutil
import pytest

from tests.parts import ROOT
from tests.rig import Process, Rig, ready
from tests.web.auth.key_server import publishing
from tests.web.auth.test_jwks import listed, signed_by

pytestmark = pytest.mark.slow

SECRET = "a secret that nobody would guess, ever"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def made_token(folder: Path, *arguments: str) -> str:
    """What `rowcast token` prints."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ROWCAST_")}
    return subprocess.run(
        [sys.executable, "-m", "rowcast", "token", *arguments],
        env=environment | {"ROWCAST_JWT_KEY_FILE": str(folder / "key")},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


async def status(url: str, token: str) -> int:
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = await http.get(f"{url}/notifications?user_id=1", headers=bearer(token))
    return answer.status_code


async def becomes(expected: int, url: str, token: str) -> None:
    """Wait until this token is answered so."""
    async with asyncio.timeout(20):
        while (came := await status(url, token)) != expected:
            assert came in (200, 503)
            await asyncio.sleep(0.05)  # HTTP has no way to wait for a state but to ask again


@pytest.fixture
def secrets(own: Rig, tmp_path: Path) -> Path:
    """A folder with everything that nobody may see, each in a file."""
    for name, secret in (("database", own.database_url), ("redis", own.redis_url), ("key", SECRET)):
        (tmp_path / name).write_text(secret + "\n")
    return tmp_path


async def web_of(own: Rig, secrets: Path, *arguments: str) -> tuple[str, Process]:
    url, web = await own.web_unready(
        *("--auth", "jwt", *arguments),
        database_url="",
        database_url_file=str(secrets / "database"),
        redis_url="",
        redis_url_file=str(secrets / "redis"),
        jwt_key_file=str(secrets / "key"),
    )
    await ready(url, web, timeout=40)
    return url, web


async def test_secrets_come_from_files_and_show_nowhere(own: Rig, secrets: Path) -> None:
    """Also in workers, and in one that is started anew after the files are gone."""
    token = made_token(secrets, "1")
    await own.bridge()
    url, web = await web_of(own, secrets, "--workers", "2")
    for name in ("database", "redis", "key"):
        (secrets / name).unlink()
    workers = [one for one in psutil.Process(web.pid).children(recursive=True) if "python" in one.name()]
    assert len(workers) == 2
    for process in (psutil.Process(web.pid), *workers):
        shown = " ".join(process.cmdline())
        assert not any(secret in shown for secret in (SECRET, own.database_url, own.redis_url))
    assert await status(url, token) == 200
    os.kill(workers[0].pid, signal.SIGKILL)
    await web.logged("web.worker_ended")
    os.kill(workers[1].pid, signal.SIGSTOP)  # so that the new one must answer
    try:
        await ready(url, web, timeout=40)
        assert await status(url, token) == 200
    finally:
        os.kill(workers[1].pid, signal.SIGCONT)
    assert SECRET not in web.log
    assert token not in web.log


async def test_a_wrong_key_ends_the_command_with_status_2(own: Rig, secrets: Path) -> None:
    for key, why in (("short", "at least 32"), ("", "nothing"), ("-----BEGIN PRIVATE KEY-----", "private key")):
        (secrets / "key").write_text(key)
        web = await own.command("web", "--auth", "jwt", "--workers", "2", jwt_key_file=str(secrets / "key"))
        assert await web.ended() == 2
        assert why in web.log
        assert "Traceback" not in web.log


async def test_published_keys_change_and_run_out(own: Rig) -> None:
    """A new one counts at once; without any that may be trusted, streams are told to come again and the rest gets 503; then all is well again."""
    await own.bridge()
    async with publishing(listed("a"), headers={"cache-control": "max-age=2"}) as server:
        url, web = await own.web("--auth", "jwt", jwks_url=server.url)
        assert await status(url, signed_by("a")) == 200
        server.keys = [listed("b", "EdDSA")]
        assert await status(url, signed_by("b", "EdDSA")) == 200
        assert await status(url, signed_by("a")) == 401
        server.status = 500
        await becomes(503, url, signed_by("b", "EdDSA"))
        async with httpx.AsyncClient(trust_env=False) as http:
            answer = await http.get(f"{url}/events/1", headers=bearer(signed_by("b", "EdDSA")))
        assert answer.status_code == 200
        assert answer.text.startswith("retry: ")
        assert "event:" not in answer.text
        server.status = 200
        await becomes(200, url, signed_by("b", "EdDSA"))
        assert "hunter2" not in web.log
        assert web.log.count("web.jwks_failed") == 1
