"""Bytes for a socket, from a generator: what a client sends that is nearly right, broken, or noise."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any
from urllib.parse import quote

from tests.web.auth.minting import token

PATHS = (
    *("/", "/docs", "/openapi.json", "/healthz", "/readyz", "/metrics", "/session", "/revocations", "/static/inbox.js"),
    *("/events/{}", "/events/{}?since={}", "/events/{}?lastEventId={}", "/notifications", "/notifications/{}"),
    *("/notifications?user_id={}", "/notifications?user_id={}&before={}&limit={}&unread={}", "/users/{}/viewed"),
    *("/read/{}", "/write/{}/{}/{}", "/{}", "/{}/{}"),
)
METHODS = (
    "GET",
    "GET",
    "GET",
    "POST",
    "POST",
    "PATCH",
    "DELETE",
    "PUT",
    "HEAD",
    "OPTIONS",
    "TRACE",
    "CONNECT",
    "BREW",
    "get",
)
ODD = (
    *(
        "",
        "0",
        "-1",
        "1",
        "7",
        "00",
        "+1",
        "1e3",
        "1.0",
        "9" * 19,
        "9223372036854775807",
        "9223372036854775808",
        "9" * 5_000,
        "٣",
    ),
    *(
        "null",
        "true",
        "None",
        "nan",
        "unread",
        "now",
        "all",
        "%00",
        "%0d%0a",
        "%",
        "%zz",
        "%ff",
        "%2F",
        "%2e%2e",
        "..",
        "//",
        "\\",
        "?",
        "#",
        ";",
    ),
    *(
        "\r",
        "\n",
        "\0",
        "\x1b[31m",
        "\u202e",
        "\u2028",
        "é",
        "😀",
        "'",
        "''; DROP TABLE notifications; --",
        "{b.0}",
        "*",
        "<script>",
        "a" * 300,
    ),
    *("00000000-0000-0000-0000-000000000001", "{00000000-0000-0000-0000-000000000001}", "infinity", "\ud800"),
)
HEADERS = (
    *(
        "Accept",
        "Accept-Encoding",
        "Accept-Language",
        "Authorization",
        "Cache-Control",
        "Connection",
        "Content-Length",
        "Content-Type",
    ),
    *(
        "Cookie",
        "Expect",
        "Forwarded",
        "Host",
        "HTTP2-Settings",
        "If-None-Match",
        "If-Modified-Since",
        "Keep-Alive",
        "Last-Event-ID",
    ),
    *(
        "Origin",
        "Range",
        "Referer",
        "Sec-Fetch-Site",
        "Sec-Fetch-Mode",
        "TE",
        "Trailer",
        "Transfer-Encoding",
        "Upgrade",
        "X-Request-ID",
    ),
    *(
        "X-Forwarded-For",
        "X-Forwarded-Proto",
        "X-HTTP-Method-Override",
        "Access-Control-Request-Method",
        "Access-Control-Request-Headers",
    ),
)
VALUES = (
    *(
        "application/json",
        "application/json; charset=utf-8",
        "text/event-stream",
        "text/html",
        "chunked",
        "gzip",
        "identity",
        "close",
    ),
    *(
        "keep-alive",
        "100-continue",
        "h2c",
        "websocket",
        "Bearer x",
        "Bearer eyJhbGciOiJub25lIn0.e30.",
        "Basic eDp5",
        "null",
        "none",
    ),
    *(
        "https://example.com",
        "cross-site",
        "same-origin",
        "*",
        '""',
        "W/",
        "bytes=0-",
        "127.0.0.1, ::1",
        "for=unknown",
        "a=b; a=c",
    ),
    *("__Host-rowcast=eyJhbGciOiJIUzI1NiJ9.e30.x", "0", "-1", "5", "99999999999999999999", "1,1"),
)
NOISE = (
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00",
    b"\0" * 64,
    b"\r\n" * 40,
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET /\r\n",
)
TOKEN = token({"sub": "1", "scope": "read view send admin", "exp": 4_102_444_800, "iat": 0, "jti": "fuzz"})


@dataclass(frozen=True, slots=True)
class Sent:
    """What goes over one connection. `sound`: it is whole and by the grammar, so an answer must come."""

    data: bytes
    sound: bool


def generate(random: Random) -> Sent:
    """The next one."""
    kinds: tuple[Callable[[Random], Sent], ...] = (_sound, _sound, _sound, _broken, _broken, _pipelined, _noise)
    return random.choice(kinds)(random)


def text(random: Random) -> str:
    """A value for any place that takes one."""
    if random.random() < 0.6:
        return random.choice(ODD)
    length = random.choice((1, 3, 10, 200))
    return "".join(chr(random.choice((random.randrange(128), random.randrange(0xD800)))) for _ in range(length))


def value(random: Random, depth: int = 0) -> Any:
    """A JSON value."""
    leaves: tuple[Callable[[], Any], ...] = (
        lambda: None,
        lambda: random.random() < 0.5,
        lambda: random.choice((0, -1, 2**53, 2**63 - 1, 2**63, 10**400, 1.5, 1e308)),
        lambda: text(random),
    )
    if depth > 3 or random.random() < 0.7:
        return random.choice(leaves)()
    if random.random() < 0.5:
        return [value(random, depth + 1) for _ in range(random.randrange(4))]
    return {text(random): value(random, depth + 1) for _ in range(random.randrange(4))}


def _row(random: Random) -> Any:
    row: dict[str, Any] = {"user_id": random.choice((1, 2, None)), "message": text(random)}
    if random.random() < 0.5:
        return row
    for name in ("key", "channel_type", "data", "is_viewed", "up_to", "user_id", "token", "id", "seq", text(random)):
        if random.random() < 0.2:
            row[name] = value(random)
    return row


def _body(random: Random) -> bytes:
    made: Any = random.choice((_row(random), [_row(random)] * random.randrange(3), value(random)))
    if random.random() < 0.1:
        return b"[" * random.choice((10, 100_000))
    written = json.dumps(made, ensure_ascii=random.random() < 0.5).encode("utf-8", "surrogatepass")
    return mutated(random, written) if random.random() < 0.3 else written


def _target(random: Random) -> str:
    path = random.choice(PATHS)
    parts = (text(random) if random.random() < 0.5 else str(random.randrange(3)) for _ in range(path.count("{}")))
    return path.format(*(quote(part.encode("utf-8", "surrogatepass"), safe="%") for part in parts))


def _headers(random: Random) -> list[str]:
    """Fields that don't change where the body ends."""
    fields = ["Host: localhost"]
    if random.random() < 0.5:
        fields.append(f"Authorization: Bearer {TOKEN}")
    for _ in range(random.randrange(6)):
        name = random.choice(HEADERS)
        if name not in {"Content-Length", "Transfer-Encoding", "Connection", "Host", "Expect", "Upgrade"}:
            fields.append(f"{name}: {random.choice((random.choice(VALUES), text(random).strip()))}")
    return [field for field in fields if field.isascii() and field.isprintable()]


def _request(random: Random) -> bytes:
    method = random.choice(METHODS)
    fields = _headers(random)
    body = b""
    if method in {"POST", "PATCH", "PUT", "DELETE"}:
        body = _body(random)
        fields += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([f"{method} {_target(random)} HTTP/1.1", *fields, "", ""]).encode() + body


def _sound(random: Random) -> Sent:
    return Sent(_request(random), sound=True)


def _broken(random: Random) -> Sent:
    request = _request(random)
    head, gap, body = request.partition(b"\r\n\r\n")
    for _ in range(random.randrange(3)):
        header = f"{random.choice(HEADERS)}: {random.choice((*VALUES, text(random)))}"
        head += b"\r\n" + header.encode("utf-8", "surrogatepass")
    return Sent(mutated(random, head + gap + body), sound=False)


def _pipelined(random: Random) -> Sent:
    return Sent(b"".join(_request(random) for _ in range(random.randrange(2, 12))), sound=False)


def _noise(random: Random) -> Sent:
    noise = random.choice((*NOISE, random.randbytes(random.choice((1, 50, 70_000)))))
    return Sent(noise + random.choice((b"", random.randbytes(200), _request(random))), sound=False)


def mutated(random: Random, data: bytes) -> bytes:
    """A few cuts, doublings, flips and insertions."""
    changed = bytearray(data)
    for _ in range(random.randrange(1, 4)):
        at = random.randrange(len(changed) + 1)
        end = min(len(changed), at + random.randrange(1, 20))
        kind = random.randrange(4)
        if kind == 0:
            del changed[at:end]
        elif kind == 1:
            changed[at:at] = changed[at:end] * random.choice((1, 3, 200))
        elif kind == 2:
            changed[at:end] = random.randbytes(end - at)
        else:
            changed[at:at] = random.choice(
                (b"\r\n", b"\n", b"\r", b"\0", b" ", b":", b"\r\n\r\n", b"\xff", b"%00", b"\t")
            )
    return bytes(changed)
