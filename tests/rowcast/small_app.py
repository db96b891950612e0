"""An ASGI app that only answers, or streams for as long as it may, and tells what became of it."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.waiting import until

CHUNK = b"x" * 65536
ANSWERS = {"/": b"ok", "/page": b"p" * 32768, "/list": b"l" * 4_000_000}


class App:
    """`/`, `/page`, `/list` answer and note what they were asked; `/stream` (`/quiet`: one chunk) sends until its client leaves or at `ending`."""

    def __init__(self) -> None:
        self.ending = asyncio.Event()
        self.streams = 0
        self.most = 0
        self.sent = 0
        self.answered = 0
        self.asked: list[dict[str, Any]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["path"] in ANSWERS:
            self.asked.append(scope)
            body = ANSWERS[scope["path"]]
            headers = [(b"content-length", b"%d" % len(body)), (b"content-type", b"text/plain")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": body})
            self.answered += 1
        else:
            await self._stream(receive, send, quiet=scope["path"] == "/quiet")

    async def _live(self, receive: Any, send: Any) -> None:
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return

    async def _stream(self, receive: Any, send: Any, *, quiet: bool) -> None:
        self.streams += 1
        self.most = max(self.most, self.streams)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        writing = asyncio.ensure_future(self._write(send, quiet))
        leaving = asyncio.ensure_future(self._gone(receive))
        try:
            await asyncio.wait({writing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.streams -= 1
        for task in (writing, leaving):
            task.cancel()
        await asyncio.gather(writing, leaving, return_exceptions=True)

    async def _write(self, send: Any, quiet: bool) -> None:
        while not self.ending.is_set():
            await send({"type": "http.response.body", "body": CHUNK, "more_body": True})
            self.sent += len(CHUNK)
            await asyncio.sleep(0)  # uvicorn's `send` to who is gone returns at once, and lets nobody else run
            if quiet:
                await self.ending.wait()
        await send({"type": "http.response.body", "body": b"bye"})

    async def _gone(self, receive: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    async def drain(self) -> None:
        self.ending.set()
        await until(lambda: not self.streams)
