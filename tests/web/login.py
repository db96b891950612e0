"""A web that asks who is there, beside the one that does not: on the same rows. And tokens for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import jwt

from tests.conftest import wait_until_ready
from tests.parts import ROOT, SERVER
from tests.rig import free_port

KEY = "a key for tests, and of no use to anybody else"


def token(user: object, *, ttl: float = 3600, scope: str | None = None, key: str = KEY, **claims: object) -> str:
    """What an application would hand to its user; None for a service, which is no user."""
    now = time.time()
    said = {"iat": int(now), "exp": now + ttl, "jti": uuid.uuid4().hex, **claims}
    if user is not None:
        said["sub"] = str(user)
    if scope is not None:
        said["scope"] = scope
    return jwt.encode(said, key, algorithm="HS256")


@contextmanager
def locked_web(database_url: str, redis_url: str) -> Iterator[str]:
    """Its URL. It takes tokens that are signed with KEY."""
    url = f"http://127.0.0.1:{free_port()}"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ROWCAST_", "PG"))}
    environment = kept | {
        "ROWCAST_DATABASE_URL": database_url,
        "ROWCAST_REDIS_URL": redis_url,
        "ROWCAST_SERVER": SERVER,
        "ROWCAST_AUTH": "jwt",
        "ROWCAST_JWT_KEY": KEY,
    }
    command = [sys.executable, "-m", "rowcast", "web", "--bind", url.removeprefix("http://")]
    process = subprocess.Popen(command, env=environment, cwd=ROOT)
    try:
        wait_until_ready(url, [process])
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)
