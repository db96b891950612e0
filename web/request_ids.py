"""An id for each request and one for its connection, in every line that is logged for it. The request's goes back in the header X-Request-ID.

They are made here and never taken from the request: an id that a client chooses could pass its lines off as another's.
"""

from __future__ import annotations

import zlib
from collections.abc import Awaitable
from contextvars import ContextVar
from itertools import count

from hypercorn.typing import ASGIFramework, ASGIReceiveCallable, ASGISendCallable, Scope, WWWScope
from structlog.contextvars import bind_contextvars

from core.clock import Clock

HEADER = "X-Request-ID"
_current: ContextVar[str | None] = ContextVar("request id", default=None)


class RequestIds:
    """Of one process: a part drawn at its start, and a number."""

    def __init__(self, clock: Clock) -> None:
        self._process = f"{int(clock.jitter(0, 2**32 - 1)):08x}"
        self._numbers = count(1)

    def before(self, app: ASGIFramework) -> ASGIFramework:
        """The ASGI app that stands in for `app`: all that comes after this, refusals too, is of a request that has its id."""

        def answer(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> Awaitable[None]:
            if scope["type"] == "http":
                self.begin()
            return app(scope, receive, send)

        return answer

    def begin(self) -> None:
        """From here on, in this task and those it starts, lines carry `request`."""
        request = f"{self._process}-{next(self._numbers)}"
        _current.set(request)
        bind_contextvars(request=request)

    def recognize(self, scope: WWWScope) -> None:
        """From here on they carry `connection`, too: whose socket. To be called once the scope names the client that a proxy speaks for."""
        bind_contextvars(connection=self._connection(scope))

    def _connection(self, scope: WWWScope) -> str:
        """The same for all requests of a connection; says nothing of the address to who only has the log."""
        client = scope.get("client") or ("", 0)
        return f"{zlib.crc32(f'{self._process} {client[0]} {client[1]}'.encode()):08x}"


def current_request_id() -> str | None:
    """That of the request being answered, None outside of one."""
    return _current.get()
