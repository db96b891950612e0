"""Waiting for the web to be fit to serve."""

from __future__ import annotations

import asyncio
import contextlib
from urllib.parse import urlsplit

from core.errors import RowcastError

_ASK_AGAIN = 0.05
_ANSWER_WITHIN = 5.0


async def wait_until_ready(url: str, *, within: float) -> None:
    """Return once /readyz answers 200; raises RowcastError, with its last answer, after `within` seconds."""
    answer = "no answer"
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within):
            while not (answer := await _ask(url)).startswith("HTTP/1.1 200"):  # noqa: ASYNC110 -- another process's state
                await asyncio.sleep(_ASK_AGAIN)
            return
    raise RowcastError(f"Not ready after {within:.0f} seconds; {url}/readyz said: {answer.strip()[-300:]}")


async def _ask(url: str) -> str:
    """The whole answer of /readyz, or why there is none. The port is open from the start: a web that still starts just answers late."""
    at = urlsplit(url)
    writer = None
    try:
        async with asyncio.timeout(_ANSWER_WITHIN):
            reader, writer = await asyncio.open_connection(at.hostname, at.port)
            writer.write(f"GET /readyz HTTP/1.1\r\nHost: {at.netloc}\r\nConnection: close\r\n\r\n".encode())
            return (await reader.read(-1)).decode("utf-8", "replace")
    except (OSError, TimeoutError) as error:
        return str(error) or "no answer"
    finally:
        if writer is not None:
            writer.close()
