"""What a server answers by itself to bytes that are no request it could ask the app: a problem (RFC 9457), as all refusals are."""

from __future__ import annotations

import json
from http import HTTPStatus

_SENTENCES = {
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: "The line and the headers of the request are longer than this server takes. Send fewer cookies.",
    HTTPStatus.NOT_IMPLEMENTED: "The only coding of a body that is taken is chunked.",
    HTTPStatus.HTTP_VERSION_NOT_SUPPORTED: "HTTP/1.1 is spoken here, and HTTP/2 over TLS if the server has it.",
}


def problem(status: int) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Headers and body of the last answer on a connection."""
    title = HTTPStatus(status).phrase
    detail = _SENTENCES.get(HTTPStatus(status), "This is no request that HTTP/1.1 knows.")
    document = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    body = json.dumps(document, separators=(",", ":")).encode()
    return [
        (b"content-type", b"application/problem+json"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
        (b"connection", b"close"),
    ], body
