"""The ASGI app: streams are answered here, everything else, refusals of streams included, by Quart behind it.

A stream in Quart keeps a request, a response, their contexts and three tasks for as long as it is open, and every event passes
through all of them. Here it is one task that writes and one that waits for the client to leave.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import ExitStack, aclosing
from functools import partial
from typing import cast

from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, HTTPResponseStartEvent, HTTPScope, Scope
from quart import Quart
from werkzeug.exceptions import HTTPException

from core.clock import Clock
from db.history import History
from web import sse
from web.auth.caller import KeysUnavailableError
from web.auth.gate import Gate
from web.auth.headers import path_of
from web.config import WebConfig
from web.hardening import answer_start
from web.hub import Hub
from web.leaving import while_there
from web.open_streams import OpenStreams
from web.problems import Problem
from web.refusals import Cap, Refusals
from web.routes.events import HEADERS, asked_for
from web.stream import Stream, busy_retry, retry_after

_PREFIX = "/events/"


class Front:
    """`app`, and the streams in front of it."""

    def __init__(
        self, app: Quart, config: WebConfig, gate: Gate, *, hub: Hub, history: History, refusals: Refusals, clock: Clock
    ) -> None:
        self._app = app
        self._config = config
        self._gate = gate
        self._hub = hub
        self._history = history
        self._clock = clock
        self._cut = partial(refusals.count, Cap.REPLAY_ROWS)
        self._open = OpenStreams(Cap.STREAMS_PER_USER, config.caps.streams_per_user, refusals)

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """One connection's request, as ASGI has it."""
        if scope["type"] != "http" or scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        with ExitStack() as counted:
            frames = await self._frames(scope, counted)
            if frames is None:
                await self._app(scope, receive, send)
            else:
                await while_there(receive, self._answer(frames, scope, send))

    async def _answer(self, frames: AsyncIterator[bytes], scope: HTTPScope, send: ASGISendCallable) -> None:
        # All in one coroutine: each frame is held as long as the stream is open, by thousands of them.
        await send(stream_start(scope, self._config.cors_origins))
        async with aclosing(cast(AsyncGenerator[bytes, None], frames)):
            async for chunk in frames:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _frames(self, scope: HTTPScope, counted: ExitStack) -> AsyncIterator[bytes] | None:
        """The stream that is asked for, or a short one to say that it is to be asked for again later; None if that is for Quart to answer.

        It is one of its user's open streams until `counted` ends.
        """
        path = path_of(scope)
        if not path.startswith(_PREFIX) or path == _PREFIX:
            return None
        raw, query = scope.get("raw_path") or path.encode(), scope["query_string"]
        position = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"last-event-id"), None)
        try:
            caller = await self._gate.admit(scope)
            user_id, start = asked_for(
                self._config.user_id_type, caller, path[len(_PREFIX) :], path=raw, query=query, last_event_id=position
            )
        except (HTTPException, Problem):
            return None
        except KeysUnavailableError:
            return self._later(retry_after)
        if not counted.enter_context(self._open.entered(user_id)):
            return self._later(busy_retry)
        stream = Stream(
            self._hub,
            self._history,
            self._config,
            self._clock,
            user_id=user_id,
            start=start,
            caller=caller,
            cut=self._cut,
        )
        return stream.frames()

    async def _later(self, after: Callable[[WebConfig, Clock], int]) -> AsyncIterator[bytes]:
        yield sse.retry(after(self._config, self._clock))


def stream_start(scope: HTTPScope, cors_origins: frozenset[str]) -> HTTPResponseStartEvent:
    """The head of a stream's answer."""
    return answer_start(scope, cors_origins, 200, HEADERS)
