"""What a bridge or web process says of itself over HTTP, while something is broken."""

from __future__ import annotations

import httpx

from tests.rig import Process
from tests.waiting import until


async def get(url: str, path: str) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False, timeout=30) as http:
        return await http.get(f"{url}{path}")


async def unready(url: str, process: Process | None = None, *, within: float = 10.0) -> str:
    """Wait until /readyz says no, while /healthz says yes; what it says is wrong."""
    answer = httpx.Response(0)

    async def says_no() -> bool:
        nonlocal answer
        assert (await get(url, "/healthz")).status_code == httpx.codes.OK
        answer = await get(url, "/readyz")
        return answer.status_code == httpx.codes.SERVICE_UNAVAILABLE

    try:
        await until(says_no, timeout=within)
    except TimeoutError:
        raise AssertionError(f"{url} still says {answer.text}; log:\n{process.log if process else ''}") from None
    return answer.text
