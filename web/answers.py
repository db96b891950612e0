"""JSON answers: text that Postgres or we have built goes out as it is."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

from quart import Response


def json_text(text: str, status: HTTPStatus = HTTPStatus.OK, *, location: str | None = None) -> Response:
    """A JSON document that no cache keeps."""
    response = Response(text, status, content_type="application/json")
    response.headers["Cache-Control"] = "no-store"
    if location is not None:
        response.headers["Location"] = location
    return response


def json_value(value: Any) -> Response:
    """The same of a Python value."""
    return json_text(json.dumps(value, separators=(",", ":")))
