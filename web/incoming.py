"""The request as the server sends it to us, to its end: a client that is still sending can't read a refusal."""

from __future__ import annotations

import asyncio

from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope
from quart import Quart, Request
from quart.wrappers import BaseRequestWebsocket
from quart.wrappers.request import Body
from werkzeug.routing import BaseConverter, MapAdapter

from web.auth.headers import path_of

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


class _Anything(BaseConverter):
    """`<anything:name>`: one or more characters of any kind, slashes included (a text id or a key may hold them)."""

    regex = r"[\s\S]+"
    part_isolating = False


class App(Quart):
    """Takes whatever host and path a client may send: at some Quart fails, outside of all error handlers."""

    def __init__(self, import_name: str) -> None:
        super().__init__(import_name, static_folder=None)
        self.url_map.converters["anything"] = _Anything
        self.url_map.merge_slashes = False  # /read/a%2F%2Fb is a key, not a path to be tidied

    def create_url_adapter(self, request: BaseRequestWebsocket | None) -> MapAdapter | None:
        """No route depends on the host."""
        if request is None:
            return None
        query = request.query_string.decode("latin-1")
        return self.url_map.bind(
            "localhost", request.root_path, None, request.scheme, request.method, request.path, query
        )

    async def asgi_app(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """A path has its slash."""
        if scope["type"] == "http":
            scope["path"] = path_of(scope)
        await super().asgi_app(scope, receive, send)
