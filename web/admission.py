"""Before everything else: who asks, and do they ask for too much? What is refused here costs no Postgres, no Redis and no look at a token."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, TypeAlias, cast

from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, HTTPScope, Scope

from core.clock import Clock
from web import sse
from web.addresses import asking, counted_as
from web.auth.headers import path_of
from web.config import WebConfig
from web.front import stream_start
from web.hardening import send_problem
from web.incoming import PATIENCE
from web.leaving import while_there
from web.limiter import Limiter
from web.open_streams import OpenStreams
from web.problems import Problem
from web.refusals import Cap, Refusals
from web.request_ids import RequestIds
from web.stream import busy_retry, retry_after

App: TypeAlias = Callable[[Any, Any, Any], Awaitable[None]]

# An orchestrator that asks from the address of a flood must get its answer.
_NEVER_REFUSED = frozenset({"/healthz", "/readyz"})
_STREAMS = "/events/"


class Admission:
    """`app` behind it sees the client's own address and scheme in its scope, and only what the caps let through."""

    def __init__(self, config: WebConfig, refusals: Refusals, ids: RequestIds, clock: Clock) -> None:
        self._config = config
        self._refusals = refusals
        self._ids = ids
        self._clock = clock
        self._limiter = Limiter(config.caps.requests_per_address)
        self._streams = OpenStreams(Cap.STREAMS_PER_ADDRESS, config.caps.streams_per_address, refusals)

    def before(self, app: App) -> App:
        """The ASGI app that stands in for `app`."""

        def answer(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> Awaitable[None]:
            """No coroutine of its own: that would be held as long as a stream is open."""
            if scope["type"] == "http":
                return self._answer(app, scope, receive, send)
            return app(scope, receive, send)

        return answer

    async def _answer(self, app: App, scope: HTTPScope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        who = self._recognize(scope)
        path = path_of(scope)
        stream = scope["method"] == "GET" and path.startswith(_STREAMS)
        if path not in _NEVER_REFUSED and not self._limiter.admits(who):
            self._refusals.count(Cap.REQUESTS_PER_ADDRESS)
            await self._refuse(scope, receive, send, stream=stream)
        elif stream:
            with self._streams.entered(who) as admitted:
                await (app(scope, receive, send) if admitted else self._end_at_once(scope, receive, send, busy_retry))
        else:
            await app(scope, receive, send)

    def _recognize(self, scope: HTTPScope) -> str:
        """Have the scope tell of the client that a proxy speaks for; what its caps are counted by."""
        client = scope["client"]
        found = asking(client[0] if client else None, scope["scheme"], scope["headers"], self._config.trusted_proxies)
        if not client or found.address != client[0]:
            scope["client"] = (found.address, client[1] if client else 0)
        scope["scheme"] = found.scheme
        self._ids.recognize(scope)
        return counted_as(found.address)

    async def _refuse(
        self, scope: HTTPScope, receive: ASGIReceiveCallable, send: ASGISendCallable, *, stream: bool
    ) -> None:
        if stream:
            # There is room for it, in a second or two: many who come back at once get in as fast as the cap lets them.
            await self._end_at_once(scope, receive, send, retry_after)
            return
        await _drain(receive)
        most = self._config.caps.requests_per_address
        problem = Problem(
            HTTPStatus.TOO_MANY_REQUESTS,
            f"More than {most} requests a second came from your address. Wait a second, then go on more slowly.",
            Retry_After="1",
        )
        await while_there(receive, send_problem(problem, scope, self._config.cors_origins, send))

    async def _end_at_once(
        self,
        scope: HTTPScope,
        receive: ASGIReceiveCallable,
        send: ASGISendCallable,
        after: Callable[[WebConfig, Clock], int],
    ) -> None:
        """An EventSource gives up on anything but 200: it is told to come back, and when."""
        await while_there(receive, self._say_when(scope, send, after(self._config, self._clock)))

    async def _say_when(self, scope: HTTPScope, send: ASGISendCallable, milliseconds: int) -> None:
        await send(stream_start(scope, self._config.cors_origins))
        await _end(send, sse.retry(milliseconds))


async def _drain(receive: ASGIReceiveCallable) -> None:
    """Let the body pass, for as long as web.incoming does: a client that is still sending can't read a refusal."""
    try:
        async with asyncio.timeout(PATIENCE):
            while cast(dict[str, Any], await receive()).get("more_body", False):
                pass
    except TimeoutError:
        pass


async def _end(send: ASGISendCallable, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": False})
