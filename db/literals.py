"""Values that go to Postgres as it would print them, whatever their type there."""

from __future__ import annotations

from collections.abc import Iterable


def array(items: Iterable[str]) -> str:
    """An array literal of those texts, whatever the element type (Postgres manual, 8.15.6)."""
    quoted = ('"' + item.replace("\\", "\\\\").replace('"', '\\"') + '"' for item in items)
    return "{" + ",".join(quoted) + "}"
