"""Redis as the protocol sees it: sharded channels, MULTI/EXEC, and messages that are heard once or never.

It is reached through redis-py's connection: `RawConnection` has what fanout/connection.py calls of that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from redis.exceptions import ConnectionError, ResponseError

from tests.model.wire import END, Item, Wire

Command = tuple[bytes, ...]
_CONNECT: Item = "connect"


class RedisServer:
    """One node: who has subscribed to what."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.up = True
        self.role = b"master"
        self.refusals = 0  # commands that will be answered by an error
        self.subscribed: dict[Wire, dict[bytes, None]] = {}

    def refuse(self, count: int) -> None:
        """Answer messages of so many of the next batches by an error."""
        self.refusals = count

    def publish(self, channel: bytes, payload: bytes) -> int:
        hearing = [wire for wire, channels in self.subscribed.items() if channel in channels]
        for wire in hearing:
            wire.down.append([b"smessage", channel, payload])
        return len(hearing)


class RedisPeer:
    """The server's end of one connection."""

    def __init__(self, address: Callable[[], RedisServer]) -> None:
        self._address = address
        self.server: RedisServer | None = None
        self._multi: list[Command] | None = None
        self._spoiled = False
        self._refusing = False

    def take(self, wire: Wire, item: Item) -> None:
        if self.server is None:
            self.server = self._address()
            if self.server.up:
                wire.down.append("connected")
            else:
                wire.end()
            return
        wire.down.append(self._answer(wire, self.server, item))

    def gone(self, wire: Wire) -> None:
        if self.server is not None:
            self.server.subscribed.pop(wire, None)

    def _answer(self, wire: Wire, server: RedisServer, command: Command) -> Item:
        match command:
            case (b"MULTI",):
                self._multi, self._spoiled = [], False
                self._refusing, server.refusals = server.refusals > 0, max(0, server.refusals - 1)
                return b"OK"
            case (b"EXEC",):
                queued, self._multi = self._multi or [], None
                if self._spoiled:
                    return ResponseError("EXECABORT Transaction discarded because of previous errors.")
                return [self._run(wire, server, each) for each in queued]
            case (b"SPUBLISH", channel, _) if self._refuses(server, channel):
                self._spoiled = True
                return ResponseError("BUSY Valkey is busy running a script.")
            case _ if self._multi is not None:
                self._multi.append(command)
                return b"QUEUED"
        return self._run(wire, server, command)

    def _refuses(self, server: RedisServer, channel: bytes) -> bool:
        if self._multi is not None:
            return self._refusing
        # Busy for a moment: a pipeline finds it so, and not any more at its end.
        if not server.refusals or channel.endswith(b":mark"):
            return False
        server.refusals -= 1
        return True

    def _run(self, wire: Wire, server: RedisServer, command: Command) -> Item:
        channels = server.subscribed.setdefault(wire, {}) if command[0].startswith((b"SSUB", b"SUNSUB")) else {}
        match command:
            case (b"SPUBLISH", channel, payload):
                return server.publish(channel, payload)
            case (b"HELLO",):
                return [b"server", b"valkey", b"role", server.role]
            case (b"SSUBSCRIBE", channel):
                channels[channel] = None
                return [b"ssubscribe", channel, len(channels)]
            case (b"SUNSUBSCRIBE", channel):
                channels.pop(channel, None)
                return [b"sunsubscribe", channel, len(channels)]
        raise AssertionError(f"a command that the model does not know: {command!r}")


class RawConnection:
    """One connection of redis-py, without retries, as fanout/connection.py asks for."""

    def __init__(self, open_wire: Callable[[str, RedisPeer], Wire], address: Callable[[], RedisServer], name: str):
        self._open_wire = open_wire
        self._address = address
        self._name = name
        self._wire: Wire | None = None

    @property
    def is_connected(self) -> bool:
        return self._wire is not None and self._wire.open

    async def connect(self) -> None:
        self._wire = self._open_wire(self._name, RedisPeer(self._address))
        self._wire.send(_CONNECT)
        await self.read_response()

    def pack_commands(self, commands: Sequence[Command]) -> Sequence[Command]:
        return commands

    async def send_packed_command(self, commands: Sequence[Command], check_health: bool = True) -> None:
        if self._wire is None or not self._wire.open:
            raise ConnectionError("Connection lost")
        for command in commands:
            self._wire.send(command)

    async def read_response(self, timeout: float | None = None) -> Any:
        answer = END if self._wire is None else await self._wire.receive()
        if answer is END:
            raise ConnectionError("Connection closed by server.")
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def disconnect(self, nowait: bool = False) -> None:
        if self._wire is not None:
            self._wire.close()
