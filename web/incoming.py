"""The request as the server sends it to us, to its end: a client that is still sending can't read a refusal."""

from __future__ import annotations

import asyncio

from quart import Request
from quart.wrappers.request import Body

PATIENCE = 5.0  # seconds


class DrainedBody(Body):
    """Quart's body, which past its limit keeps nothing, and that knows when the client has sent the last of it."""

    def __init__(self, expected_content_length: int | None, max_content_length: int | None) -> None:
        super().__init__(expected_content_length, max_content_length)
        self._ended = asyncio.Event()
        self._appending = False

    def append(self, data: bytes) -> None:
        self._appending = True
        super().append(data)
        self._appending = False

    def set_complete(self) -> None:
        if not self._appending:  # the base class calls this for a body that has become too long, too
            self._ended.set()
        super().set_complete()

    async def drain(self) -> None:
        """Wait until the client has sent everything; for 5 s at most."""
        try:
            async with asyncio.timeout(PATIENCE):
                await self._ended.wait()
        except TimeoutError:
            pass


class DrainedRequest(Request):
    """A request whose rest can be let pass: closed with bytes unread, a connection loses the answer too."""

    body_class = DrainedBody
    body: DrainedBody
