"""Headers that every answer has (the rest of them: tests/web/auth/test_gate.py)."""

from __future__ import annotations

from typing import Any, cast

from hypercorn.typing import HTTPScope

from web.hardening import added_headers


def test_browsers_keep_to_tls_once_they_came_by_it() -> None:
    """RFC 6797: over plain HTTP the header says nothing, and must not be sent."""
    for scheme, told in (("https", True), ("http", False)):
        asked: Any = {"scheme": scheme, "headers": []}
        added = added_headers(cast(HTTPScope, asked), frozenset())
        assert ("Strict-Transport-Security" in added) is told
